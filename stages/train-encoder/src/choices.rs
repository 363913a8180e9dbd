//! What `[train_encoder]` lets one choose between.

use serde::{Deserialize, Serialize};

/// Whose pictures the encoder is trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Images {
    /// The photos from the web (the paper's E).
    #[default]
    Photos,
    /// The generated portraits of the same people (the paper's `E_gen`, Figure 6).
    Portraits,
}

/// In which order photos are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A person at random, then one of their photos, so that people with many photos do not count
    /// more.
    #[default]
    People,
    /// Every photo once in an epoch, in an order of its own each time.
    Epochs,
}

/// What turns gradients into steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Kingma and Ba (2015), as the paper.
    #[default]
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    Adamw,
}

/// How the learning rate goes with the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// The same throughout.
    #[default]
    Constant,
    /// Half a cosine, from 1 down to `floor`.
    Cosine,
}

/// What the error of a batch is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reduction {
    /// Examples and numbers of a name: `torch.nn.MSELoss()`.
    #[default]
    Mean,
    /// Examples alone: Eq. 3 to the letter, the squared length of the error.
    Sum,
}

/// In which numbers products are computed. Weights and moments are float32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// Rounded to bfloat16 where PyTorch's autocast rounds; sums in float32. Slower on a processor,
    /// where it stands for what a GPU computes.
    Bf16,
}

/// What the network is taught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// Name embeddings as they are (Eq. 3).
    #[default]
    Raw,
    /// Each number by its mean and deviation over the training people; folded into the last layer
    /// when the encoder is written.
    Standardized,
}

/// What the last bias is before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastBias {
    /// The training people's mean name: the best answer to no photo at all.
    #[default]
    Mean,
    /// Uniform within 1/√inputs, as all others.
    Pytorch,
}

/// Which weights become the encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those after the last step.
    #[default]
    Last,
    /// Those of the curve's point with the lowest validation loss.
    Best,
}
