use laioncele_structure::layers::{Layer, offences, workspace};

#[test]
fn every_crate_knows_only_the_layers_below() {
    let crates = workspace(&crate::root()).expect("cargo metadata");
    for layer in [
        Layer::Core,
        Layer::Model,
        Layer::Stage,
        Layer::World,
        Layer::Program,
    ] {
        assert!(
            crates.iter().any(|c| Layer::of(&c.folder) == Some(layer)),
            "no crate in the layer {layer:?}"
        );
    }
    let offences: Vec<String> = offences(&crates).iter().map(ToString::to_string).collect();
    assert!(
        offences.is_empty(),
        "against ARCHITECTURE.md, \"Layers\":\n{}",
        offences.join("\n")
    );
}
