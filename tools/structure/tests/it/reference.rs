use laioncele_structure::reference::manifest;

#[test]
fn manifest_page_is_what_the_types_say() {
    let page = manifest(&crate::root()).expect("the sources");
    assert!(
        page.matches("\n## `[").count() >= 18,
        "a section is missing:\n{page}"
    );
    let written =
        std::fs::read_to_string(crate::root().join("docs/manifest.md")).unwrap_or_default();
    assert!(
        written == page,
        "docs/manifest.md is not what the settings' types say: make docs"
    );
}
