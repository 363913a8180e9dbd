//! Replaces PReLU in an ONNX file by operators that the ONNX Runtime runs fast on x86. There it
//! computes convolutions in a blocked memory layout. PReLU has no kernel for that layout, so the
//! runtime converts the tensor back for each one, which takes half the time of a recognizer. For a
//! channel with slope a, PReLU is a·x + (1 − a)·ReLU(x): two depthwise 1 × 1 convolutions, a ReLU and
//! a sum, which all have blocked kernels. Slopes that are not finite, or so steep that the sum loses
//! bits of x, are left as they are.

use std::collections::HashMap;

use crate::protobuf::{Field, put_bytes, put_number};

/// Fields of ONNX's messages (onnx.proto).
const MODEL_GRAPH: u64 = 7;
const GRAPH_NODE: u64 = 1;
const GRAPH_INITIALIZER: u64 = 5;
const NODE_INPUT: u64 = 1;
const NODE_OUTPUT: u64 = 2;
const NODE_OPERATOR: u64 = 4;
const NODE_ATTRIBUTE: u64 = 5;
const NODE_DOMAIN: u64 = 7;
const ATTRIBUTE_NAME: u64 = 1;
const ATTRIBUTE_INTEGER: u64 = 3;
const ATTRIBUTE_TYPE: u64 = 20;
const TENSOR_EXTENT: u64 = 1;
const TENSOR_TYPE: u64 = 2;
const TENSOR_FLOATS: u64 = 4;
const TENSOR_NAME: u64 = 8;
const TENSOR_RAW: u64 = 9;
const TENSOR_LOCATION: u64 = 14;
/// Values of `AttributeProto.AttributeType` and `TensorProto.DataType`.
const INTEGER: u64 = 2;
const FLOAT: u64 = 1;

/// The steepest slope that is replaced: of a·x + (1 − a)·x no more than four bits are lost.
const STEEPEST: f32 = 16.0;
/// What the nodes of a small graph may take besides, in bytes.
const ROOM: usize = 1 << 16;
/// Fields of a tensor that is read. Real files have few: the numbers are one field.
const MOST_TENSOR_FIELDS: usize = 64;

/// The ONNX file with each PReLU on a convolution's channels replaced; `None` where it has none, or
/// where the file is not as expected, which the runtime then says better.
pub(crate) fn replaced(file: &[u8]) -> Option<Vec<u8>> {
    let model = Field::all(file)?;
    let mut graphs = model.iter().filter(|f| f.number == MODEL_GRAPH);
    let (Some(graph), None) = (graphs.next(), graphs.next()) else {
        return None;
    };
    let graph = graph.bytes()?;
    let graph = Graph::of(graph)?.without_prelu(graph.len())?;
    let mut written = Vec::with_capacity(file.len() + file.len() / 16);
    for field in &model {
        if field.number == MODEL_GRAPH {
            put_bytes(&mut written, MODEL_GRAPH, &graph);
        } else {
            written.extend_from_slice(field.whole);
        }
    }
    Some(written)
}

/// A graph whose nodes and initial values can be looked up.
struct Graph<'a> {
    fields: Vec<Field<'a>>,
    nodes: Vec<Node<'a>>,
    /// Which node makes the output of this name.
    makers: HashMap<&'a [u8], usize>,
    /// The initial values, whole tensor messages.
    tensors: HashMap<&'a [u8], Vec<Field<'a>>>,
}

/// What is read of a node.
#[derive(Default)]
struct Node<'a> {
    operator: &'a [u8],
    domain: &'a [u8],
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
}

/// A PReLU that can be replaced.
struct Prelu<'a> {
    input: &'a [u8],
    output: &'a [u8],
    slopes: Vec<f32>,
}

impl<'a> Node<'a> {
    fn of(message: &'a [u8]) -> Option<Self> {
        let mut node = Self::default();
        for field in Field::all(message)? {
            match field.number {
                NODE_INPUT => node.inputs.push(field.bytes()?),
                NODE_OUTPUT => node.outputs.push(field.bytes()?),
                NODE_OPERATOR => node.operator = field.bytes()?,
                NODE_DOMAIN => node.domain = field.bytes()?,
                _ => {}
            }
        }
        Some(node)
    }

    /// Whether it is this operator of ONNX's own.
    fn is(&self, operator: &str) -> bool {
        self.operator == operator.as_bytes() && self.domain.is_empty()
    }
}

impl<'a> Graph<'a> {
    fn of(message: &'a [u8]) -> Option<Self> {
        let fields = Field::all(message)?;
        let (mut nodes, mut makers, mut tensors) = (Vec::new(), HashMap::new(), HashMap::new());
        for field in &fields {
            match field.number {
                GRAPH_NODE => {
                    let node = Node::of(field.bytes()?)?;
                    makers.extend(node.outputs.iter().map(|name| (*name, nodes.len())));
                    nodes.push(node);
                }
                GRAPH_INITIALIZER => {
                    let tensor = Field::all(field.bytes()?)?;
                    let name = tensor.iter().find(|f| f.number == TENSOR_NAME);
                    if let Some(name) = name
                        && tensor.len() <= MOST_TENSOR_FIELDS
                    {
                        tensors.insert(name.bytes()?, tensor);
                    }
                }
                _ => {}
            }
        }
        Some(Self {
            fields,
            nodes,
            makers,
            tensors,
        })
    }

    /// The graph's message with other nodes in the PReLUs' places; `None` without any, or where it
    /// would grow out of proportion to its `size`, as by long names and slopes that many share.
    fn without_prelu(&self, size: usize) -> Option<Vec<u8>> {
        let (mut written, mut slopes) = (Vec::new(), Vec::new());
        let mut nodes = self.nodes.iter();
        for field in &self.fields {
            let node = (field.number == GRAPH_NODE).then(|| nodes.next());
            if let Some(prelu) = node.flatten().and_then(|node| self.prelu(node)) {
                prelu.put_nodes(&mut written);
                prelu.put_slopes(&mut slopes);
            } else {
                written.extend_from_slice(field.whole);
            }
            if written.len() + slopes.len() > 2 * size + ROOM {
                return None;
            }
        }
        let found = !slopes.is_empty();
        written.extend(slopes);
        found.then_some(written)
    }

    /// What makes the tensor of this name.
    fn maker(&self, name: &[u8]) -> Option<&Node<'a>> {
        self.nodes.get(*self.makers.get(name)?)
    }

    /// The node as a PReLU of a convolution's channels, one slope for each.
    fn prelu(&self, node: &Node<'a>) -> Option<Prelu<'a>> {
        let (true, [input, slopes], [output]) = (
            node.is("PRelu"),
            node.inputs.as_slice(),
            node.outputs.as_slice(),
        ) else {
            return None;
        };
        let channels = self.channels(input)?;
        let slopes = self.slopes(slopes, channels)?;
        Some(Prelu {
            input,
            output,
            slopes,
        })
    }

    /// Channels of a tensor that a two-dimensional convolution gives, normalized or not.
    fn channels(&self, name: &[u8]) -> Option<u64> {
        let mut node = self.maker(name)?;
        if node.is("BatchNormalization") {
            node = self.maker(node.inputs.first()?)?;
        }
        let filters = self.tensors.get(*node.inputs.get(1)?)?;
        match extents(filters)?[..] {
            [filters, _, _, _] if node.is("Conv") => Some(filters),
            _ => None,
        }
    }

    /// The initial values of this name if they are floats, one for each channel.
    fn slopes(&self, name: &[u8], channels: u64) -> Option<Vec<f32>> {
        let tensor = self.tensors.get(name)?;
        let number = |field: u64| tensor.iter().find(|f| f.number == field)?.value();
        let fits = matches!(extents(tensor)?[..], [c, 1, 1] | [1, c, 1, 1] if c == channels);
        let elsewhere = number(TENSOR_LOCATION).is_some_and(|location| location != 0);
        if !fits || elsewhere || number(TENSOR_TYPE)? != FLOAT {
            return None;
        }
        let stored = [TENSOR_RAW, TENSOR_FLOATS];
        let stored = tensor.iter().find(|f| stored.contains(&f.number))?;
        let (bytes, []) = stored.bytes()?.as_chunks::<4>() else {
            return None;
        };
        let values: Vec<f32> = bytes.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let gentle = values.iter().all(|slope| slope.abs() <= STEEPEST);
        (gentle && values.len() as u64 == channels).then_some(values)
    }
}

/// A tensor's extents, listed or packed.
fn extents(tensor: &[Field]) -> Option<Vec<u64>> {
    let mut extents = Vec::new();
    for field in tensor.iter().filter(|f| f.number == TENSOR_EXTENT) {
        match field.value() {
            Some(extent) => extents.push(extent),
            None => extents.extend(crate::protobuf::numbers(field.bytes()?)?),
        }
    }
    Some(extents)
}

impl Prelu<'_> {
    /// The name of a tensor that belongs to this PReLU.
    fn name(&self, role: &str) -> Vec<u8> {
        [self.output, b"/prelu-", role.as_bytes()].concat()
    }

    /// As nodes of a graph.
    fn put_nodes(&self, graph: &mut Vec<u8>) {
        let [scaled, positive, rest] = ["scaled", "positive", "rest"].map(|role| self.name(role));
        let [slopes, complements] = ["slopes", "complements"].map(|role| self.name(role));
        put_node(
            graph,
            "Conv",
            &[self.input, &slopes],
            &scaled,
            Some(self.groups()),
        );
        put_node(graph, "Relu", &[self.input], &positive, None);
        put_node(
            graph,
            "Conv",
            &[&positive, &complements],
            &rest,
            Some(self.groups()),
        );
        put_node(graph, "Add", &[&rest, &scaled], self.output, None);
    }

    /// The convolutions' filters, as initial values of a graph.
    fn put_slopes(&self, graph: &mut Vec<u8>) {
        let complements: Vec<f32> = self.slopes.iter().map(|a| 1.0 - a).collect();
        put_filters(graph, &self.name("slopes"), &self.slopes);
        put_filters(graph, &self.name("complements"), &complements);
    }

    fn groups(&self) -> u64 {
        self.slopes.len() as u64
    }
}

fn put_node(
    graph: &mut Vec<u8>,
    operator: &str,
    inputs: &[&[u8]],
    output: &[u8],
    groups: Option<u64>,
) {
    let mut node = Vec::new();
    for input in inputs {
        put_bytes(&mut node, NODE_INPUT, input);
    }
    put_bytes(&mut node, NODE_OUTPUT, output);
    put_bytes(&mut node, NODE_OPERATOR, operator.as_bytes());
    if let Some(groups) = groups {
        let mut attribute = Vec::new();
        put_bytes(&mut attribute, ATTRIBUTE_NAME, b"group");
        put_number(&mut attribute, ATTRIBUTE_INTEGER, groups);
        put_number(&mut attribute, ATTRIBUTE_TYPE, INTEGER);
        put_bytes(&mut node, NODE_ATTRIBUTE, &attribute);
    }
    put_bytes(graph, GRAPH_NODE, &node);
}

/// Filters of one pixel, one for each channel.
fn put_filters(graph: &mut Vec<u8>, name: &[u8], values: &[f32]) {
    let mut tensor = Vec::new();
    for extent in [values.len() as u64, 1, 1, 1] {
        put_number(&mut tensor, TENSOR_EXTENT, extent);
    }
    put_number(&mut tensor, TENSOR_TYPE, FLOAT);
    put_bytes(&mut tensor, TENSOR_NAME, name);
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    put_bytes(&mut tensor, TENSOR_RAW, &raw);
    put_bytes(graph, GRAPH_INITIALIZER, &tensor);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ort::session::Session;
    use ort::value::TensorRef;
    use proptest::prelude::*;

    use super::*;
    use crate::runtime;

    fn recognizer() -> Vec<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = "../../manifests/mini/face/faceplugin_fr_feature_512.onnx";
        std::fs::read(root.join(file)).expect("the shipped recognizer")
    }

    fn operators(file: &[u8], operator: &str) -> usize {
        let model = Field::all(file).expect("a message");
        let graph = model.iter().find(|f| f.number == MODEL_GRAPH);
        let graph = Field::all(graph.expect("a graph").bytes().expect("a message"));
        let graph = graph.expect("fields");
        let nodes = graph.iter().filter(|f| f.number == GRAPH_NODE);
        let nodes = nodes.map(|f| Node::of(f.bytes().expect("a message")).expect("a node"));
        nodes.filter(|node| node.is(operator)).count()
    }

    #[test]
    fn the_recognizer_gives_the_same_numbers_without_it() -> Result<(), Box<dyn std::error::Error>>
    {
        let file = recognizer();
        let other = replaced(&file).ok_or("no PReLU")?;
        assert_eq!(
            (operators(&file, "PRelu"), operators(&file, "Conv")),
            (33, 50)
        );
        assert_eq!(
            (operators(&other, "PRelu"), operators(&other, "Conv")),
            (0, 50 + 2 * 33)
        );
        assert_eq!(replaced(&other), None);
        let pixel = |i: usize| ((i * 7919 % 255) as f32 - 127.0) / 128.0;
        let pixels: Vec<f32> = (0..3 * 112 * 112).map(pixel).collect();
        let run = |file: &[u8]| -> Result<Vec<f32>, Box<dyn std::error::Error>> {
            let mut session =
                Session::builder(&runtime::environment()?)?.commit_from_memory(file)?;
            let input = TensorRef::from_array_view(([1usize, 3, 112, 112], pixels.as_slice()))?;
            let outputs = session.run(ort::inputs![input])?;
            Ok(outputs[0].try_extract_tensor::<f32>()?.1.to_vec())
        };
        let (expected, found) = (run(&file)?, run(&other)?);
        assert_eq!(found.len(), 512);
        let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        // Of a vector of length 1.65.
        assert!(apart.fold(0.0, f32::max) < 1e-5);
        Ok(())
    }

    /// A model with one node of this operator on a convolution of two filters, and slopes of these
    /// extents.
    fn model(operator: &str, extents: &[u64], data_type: u64) -> Vec<u8> {
        model_of(&[operator], extents, data_type, 0.25)
    }

    /// The same with more nodes beside each other, and slopes of this value.
    fn model_of(operators: &[&str], extents: &[u64], data_type: u64, slope: f32) -> Vec<u8> {
        let mut graph = Vec::new();
        put_node(&mut graph, "Conv", &[b"x", b"filters"], b"y", None);
        for operator in operators {
            put_node(&mut graph, operator, &[b"y", b"slopes"], b"z", None);
        }
        for (name, extents) in [(&b"filters"[..], &[2, 1, 3, 3][..]), (b"slopes", extents)] {
            let mut tensor = Vec::new();
            (extents.iter()).for_each(|n| put_number(&mut tensor, TENSOR_EXTENT, *n));
            put_number(&mut tensor, TENSOR_TYPE, data_type);
            put_bytes(&mut tensor, TENSOR_NAME, name);
            let numbers = extents.iter().product::<u64>() as usize;
            put_bytes(
                &mut tensor,
                TENSOR_RAW,
                &slope.to_le_bytes().repeat(numbers),
            );
            put_bytes(&mut graph, GRAPH_INITIALIZER, &tensor);
        }
        let mut model = Vec::new();
        put_number(&mut model, 1, 8);
        put_bytes(&mut model, MODEL_GRAPH, &graph);
        model
    }

    #[test]
    fn only_slopes_of_channels_are_replaced() {
        for (extents, fits) in [
            (&[2, 1, 1][..], true),
            (&[1, 2, 1, 1], true),
            (&[1], false),
            (&[1, 1, 1], false),
            (&[2, 4, 4], false),
            (&[3, 1, 1], false),
        ] {
            let found = replaced(&model("PRelu", extents, FLOAT));
            assert_eq!(found.is_some(), fits, "{extents:?}");
        }
        assert_eq!(replaced(&model("Relu", &[2, 1, 1], FLOAT)), None);
        assert_eq!(replaced(&model("PRelu", &[2, 1, 1], 10)), None);
        for (slope, fits) in [(-16.0, true), (16.5, false), (f32::NAN, false)] {
            let found = replaced(&model_of(&["PRelu"], &[2, 1, 1], FLOAT, slope));
            assert_eq!(found.is_some(), fits, "{slope}");
        }
        assert_eq!(replaced(b""), None);
        assert_eq!(replaced(b"not a network"), None);
    }

    #[test]
    fn what_would_grow_out_of_proportion_stays_as_it_is() {
        assert!(replaced(&model_of(&["PRelu"; 20], &[2, 1, 1], FLOAT, 0.5)).is_some());
        // Each would bring a long name five times.
        let mut graph = Vec::new();
        put_node(&mut graph, "Conv", &[b"x", b"filters"], b"y", None);
        for _ in 0..4 {
            put_node(
                &mut graph,
                "PRelu",
                &[b"y", b"slopes"],
                &vec![b'z'; 1 << 15],
                None,
            );
        }
        put_filters(&mut graph, b"filters", &[0.0; 2]);
        let mut tensor = Vec::new();
        [2, 1, 1]
            .into_iter()
            .for_each(|n| put_number(&mut tensor, TENSOR_EXTENT, n));
        put_number(&mut tensor, TENSOR_TYPE, FLOAT);
        put_bytes(&mut tensor, TENSOR_NAME, b"slopes");
        put_bytes(&mut tensor, TENSOR_RAW, &[0; 8]);
        put_bytes(&mut graph, GRAPH_INITIALIZER, &tensor);
        let mut model = Vec::new();
        put_bytes(&mut model, MODEL_GRAPH, &graph);
        assert_eq!(replaced(&model), None);
    }

    proptest! {
        #[test]
        fn no_damage_panics(at in 0usize..200, bytes in prop::collection::vec(0u8.., 1..20), cut in 0usize..300) {
            let mut file = model("PRelu", &[2, 1, 1], FLOAT);
            let at = at.min(file.len() - bytes.len());
            file[at..at + bytes.len()].copy_from_slice(&bytes);
            file.truncate(cut);
            let _ = replaced(&file);
        }
    }
}
