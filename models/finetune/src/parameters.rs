//! Which numbers are trained: all weights of the U-Net, or a LoRA beside its attention's projections.

use std::cell::RefCell;
use std::fmt::Display;

use candle_core::{DType, Device, Shape, Tensor, Var};
use laioncele_nn::Weights;

use crate::error::{Error, Result};
use crate::random::Stream;

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trained {
    /// y = W x + (alpha/rank) · B (A x) beside `to_q`, `to_k`, `to_v`, `to_out.0` of every
    /// attention; W frozen.
    Lora {
        /// Rows of A and columns of B.
        rank: usize,
        /// What the product is multiplied by, times the rank.
        alpha: f64,
    },
    /// Every weight.
    UNet,
}

/// One trained tensor, in float32.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// diffusers' name, without `unet.` before it: `….to_q.lora_A.weight`, `conv_in.bias`.
    pub name: String,
    pub(crate) var: Var,
}

impl Parameter {
    /// Its shape.
    pub fn dims(&self) -> &[usize] {
        self.var.dims()
    }

    /// Its numbers, row by row.
    ///
    /// # Errors
    /// A device that fails.
    pub fn values(&self) -> Result<Vec<f32>> {
        Ok(self.var.flatten_all()?.to_vec1()?)
    }

    /// Puts numbers in place of its own.
    ///
    /// # Errors
    /// [`Error::Parameter`] of another number of them.
    pub fn set(&self, values: &[f32]) -> Result<()> {
        if values.len() != self.var.elem_count() {
            return Err(Error::Parameter {
                name: self.name.clone(),
                count: values.len(),
            });
        }
        let values = Tensor::from_slice(values, self.var.shape(), self.var.device())?;
        Ok(self.var.set(&values)?)
    }
}

/// What all modules of a network are built with.
pub(crate) struct Build {
    pub trained: Trained,
    /// Of the first A of every LoRA.
    pub seed: u64,
    pub device: Device,
    pub parameters: RefCell<Vec<Parameter>>,
}

/// A place among the weights, from which modules are loaded.
pub(crate) struct Place<'a> {
    build: &'a Build,
    weights: Weights,
    /// With a dot at its end, if not empty.
    path: String,
}

impl<'a> Place<'a> {
    /// The U-Net itself.
    pub(crate) fn root(build: &'a Build, weights: Weights) -> Self {
        Self {
            build,
            weights,
            path: String::new(),
        }
    }

    /// A module of it.
    pub(crate) fn pp(&self, name: impl Display) -> Self {
        Self {
            build: self.build,
            weights: self.weights.pp(&name),
            path: format!("{}{name}.", self.path),
        }
    }

    /// A weight of the base model: trained if all of them are.
    pub(crate) fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let tensor = self.weights.get(shape, name)?;
        // What is missing has a placeholder in the memory of one number, and ends the load later.
        match self.build.trained {
            Trained::UNet if tensor.is_contiguous() => self.train(&tensor, name),
            _ => Ok(tensor),
        }
    }

    fn train(&self, tensor: &Tensor, name: &str) -> Result<Tensor> {
        let var = Var::from_tensor(&tensor.to_dtype(DType::F32)?)?;
        let tensor = var.as_tensor().clone();
        let name = format!("{}{name}", self.path);
        self.build
            .parameters
            .borrow_mut()
            .push(Parameter { name, var });
        Ok(tensor)
    }

    /// A [rank × input] and B [output × rank] of a LoRA beside a projection, and what their product
    /// is multiplied by; none where all weights are trained.
    pub(crate) fn lora(
        &self,
        input: usize,
        output: usize,
    ) -> Result<Option<(Tensor, Tensor, f32)>> {
        let Trained::Lora { rank, alpha } = self.build.trained else {
            return Ok(None);
        };
        let device = &self.build.device;
        let mut first = vec![0f32; rank * input];
        Stream::new(self.build.seed, "lora_A", &self.path, 0).normals(&mut first);
        // peft's "gaussian": deviation 1/rank.
        first.iter_mut().for_each(|v| *v /= rank as f32);
        let a = Tensor::from_vec(first, (rank, input), device)?;
        let b = Tensor::zeros((output, rank), DType::F32, device)?;
        let (a, b) = (
            self.train(&a, "lora_A.weight")?,
            self.train(&b, "lora_B.weight")?,
        );
        Ok(Some((a, b, (alpha / rank as f64) as f32)))
    }

    /// [`Weights::finish`]
    pub(crate) fn finish(&self) -> Result<()> {
        Ok(self.weights.finish(&[])?)
    }
}
