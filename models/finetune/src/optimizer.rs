//! AdamW (Loshchilov and Hutter 2019) as torch computes it: decay of the weights before the step,
//! not through the gradient; ε outside the root and after the corrections; one norm over all
//! gradients for clipping.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Tensor, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::{numbers, sum_pairs};
use crate::parameters::Parameter;

/// How steps are taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerSettings {
    /// The learning rate.
    pub learning_rate: f64,
    /// Decay of the two running means, in [0, 1).
    pub betas: [f64; 2],
    /// What the weights lose in each step, times the rate; 0 is plain Adam.
    pub weight_decay: f64,
    /// What keeps the division away from 0.
    pub eps: f64,
    /// The norm of all gradients together above which they are scaled down.
    pub max_grad_norm: f64,
    /// Steps over which the rate rises from 0.
    pub warmup_steps: u64,
}

impl Default for OptimizerSettings {
    /// The paper's rate; all else as diffusers' training scripts.
    fn default() -> Self {
        Self {
            learning_rate: 1e-5,
            betas: [0.9, 0.999],
            weight_decay: 1e-2,
            eps: 1e-8,
            max_grad_norm: 1.0,
            warmup_steps: 0,
        }
    }
}

impl OptimizerSettings {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// [`Error::Setting`]
    pub fn check(&self) -> Result<()> {
        let Self {
            learning_rate,
            betas: [first, second],
            weight_decay,
            eps,
            max_grad_norm,
            ..
        } = *self;
        let fraction = |beta: f64| (0.0..1.0).contains(&beta);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let checks = [
            (
                "learning_rate",
                learning_rate,
                positive(learning_rate),
                "a positive number",
            ),
            (
                "betas",
                first,
                fraction(first),
                "two numbers of at least 0 and below 1",
            ),
            (
                "betas",
                second,
                fraction(second),
                "two numbers of at least 0 and below 1",
            ),
            (
                "weight_decay",
                weight_decay,
                (0.0..=1.0).contains(&weight_decay),
                "0 to 1",
            ),
            ("eps", eps, positive(eps), "a positive number"),
            (
                "max_grad_norm",
                max_grad_norm,
                positive(max_grad_norm),
                "a positive number",
            ),
        ];
        match checks.into_iter().find(|(.., sound, _)| !sound) {
            None => Ok(()),
            Some((setting, value, _, expected)) => Err(Error::Setting {
                setting,
                value: value.to_string(),
                expected: expected.into(),
            }),
        }
    }

    /// The rate of a step, counted from 1.
    pub fn rate(&self, step: u64) -> f64 {
        if step > self.warmup_steps {
            return self.learning_rate;
        }
        self.learning_rate * step.saturating_sub(1) as f64 / self.warmup_steps.max(1) as f64
    }

    /// What gradients of this norm are multiplied by.
    pub fn clip(&self, norm: f64) -> f64 {
        (self.max_grad_norm / (norm + 1e-6)).min(1.0)
    }
}

/// Running means of one parameter's gradients and of their squares.
#[derive(Debug)]
enum Moments {
    /// Of a parameter on the processor.
    Host { mean: Vec<f32>, square: Vec<f32> },
    /// Of a parameter elsewhere.
    Device { mean: Tensor, square: Tensor },
}

/// The optimizer's memory.
#[derive(Debug)]
pub struct AdamW {
    settings: OptimizerSettings,
    steps: u64,
    moments: Vec<Moments>,
}

/// The numbers of one step that all parameters share, in float32.
#[derive(Debug, Clone, Copy)]
struct Step {
    keep: f32,
    rate: f32,
    root: f32,
    clip: f32,
    betas: [f32; 2],
    rest: [f32; 2],
    eps: f32,
}

impl AdamW {
    /// Before the first step.
    ///
    /// # Errors
    /// As [`OptimizerSettings::check`].
    pub fn new(settings: OptimizerSettings, parameters: &[Parameter]) -> Result<Self> {
        settings.check()?;
        let moments = parameters.iter().map(|parameter| {
            Ok(match parameter.var.device().is_cpu() {
                true => {
                    let zeros = vec![0f32; parameter.var.elem_count()];
                    Moments::Host {
                        mean: zeros.clone(),
                        square: zeros,
                    }
                }
                false => Moments::Device {
                    mean: parameter.var.zeros_like()?.detach(),
                    square: parameter.var.zeros_like()?.detach(),
                },
            })
        });
        Ok(Self {
            settings,
            steps: 0,
            moments: moments.collect::<Result<_>>()?,
        })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How steps are taken.
    pub fn settings(&self) -> &OptimizerSettings {
        &self.settings
    }

    /// √Σ‖g‖² over all gradients, summed in their order.
    ///
    /// # Errors
    /// A tensor operation that failed.
    pub(crate) fn norm(gradients: &[Tensor]) -> Result<f64> {
        let square = |gradient: &Tensor| -> Result<f64> {
            if gradient.device().is_cpu() {
                let values = numbers(gradient)?;
                return Ok(sum_pairs(&values, &values, |a, b| a * b));
            }
            let sum = gradient.to_dtype(DType::F32)?.sqr()?.sum_all()?;
            Ok(f64::from(sum.to_scalar::<f32>()?))
        };
        let squares: Vec<f64> = gradients.par_iter().map(square).collect::<Result<_>>()?;
        Ok(squares.iter().sum::<f64>().sqrt())
    }

    /// One step against `gradients`, one for each parameter, of this norm.
    ///
    /// # Errors
    /// A tensor operation that failed.
    pub(crate) fn step(
        &mut self,
        parameters: &[Parameter],
        gradients: &[Tensor],
        norm: f64,
    ) -> Result<()> {
        self.steps += 1;
        let step = self.of_step(norm);
        let each = parameters.iter().zip(gradients).zip(&mut self.moments);
        for ((parameter, gradient), moments) in each {
            match moments {
                Moments::Host { mean, square } => {
                    let op = AdamOp {
                        step,
                        gradient,
                        moments: RefCell::new((mean, square)),
                    };
                    parameter.var.inplace_op1(&op)?;
                }
                Moments::Device { mean, square } => {
                    let (next, moved, squared) =
                        step.apply(&parameter.var, gradient, mean, square)?;
                    parameter.var.set(&next)?;
                    (*mean, *square) = (moved, squared);
                }
            }
        }
        Ok(())
    }

    fn of_step(&self, norm: f64) -> Step {
        let OptimizerSettings {
            betas,
            weight_decay,
            eps,
            ..
        } = self.settings;
        let correction = betas.map(|beta| 1.0 - beta.powf(self.steps as f64));
        let rate = self.settings.rate(self.steps);
        Step {
            keep: (1.0 - rate * weight_decay) as f32,
            rate: (rate / correction[0]) as f32,
            root: correction[1].sqrt() as f32,
            clip: self.settings.clip(norm) as f32,
            betas: betas.map(|beta| beta as f32),
            rest: betas.map(|beta| (1.0 - beta) as f32),
            eps: eps as f32,
        }
    }

    /// The two running means of parameter `index`.
    pub(crate) fn moments(&self, index: usize) -> Result<[Vec<f32>; 2]> {
        Ok(match &self.moments[index] {
            Moments::Host { mean, square } => [mean.clone(), square.clone()],
            Moments::Device { mean, square } => [
                mean.flatten_all()?.to_vec1()?,
                square.flatten_all()?.to_vec1()?,
            ],
        })
    }

    /// Goes on from a checkpoint: its step and, for each parameter, its two running means, which
    /// have as many numbers.
    pub(crate) fn restore(
        &mut self,
        steps: u64,
        parameters: &[Parameter],
        values: Vec<[Vec<f32>; 2]>,
    ) -> Result<()> {
        let each = self.moments.iter_mut().zip(parameters).zip(values);
        for ((moments, parameter), [mean_values, square_values]) in each {
            match moments {
                Moments::Host { mean, square } => {
                    (*mean, *square) = (mean_values, square_values);
                }
                Moments::Device { mean, square } => {
                    let (shape, device) = (parameter.var.shape(), parameter.var.device());
                    *mean = Tensor::from_vec(mean_values, shape, device)?;
                    *square = Tensor::from_vec(square_values, shape, device)?;
                }
            }
        }
        self.steps = steps;
        Ok(())
    }
}

impl Step {
    /// One number's step: θ, m and v after it.
    #[inline(always)]
    fn number(&self, theta: f32, gradient: f32, mean: f32, square: f32) -> (f32, f32, f32) {
        let g = gradient * self.clip;
        let mean = mean + self.rest[0] * (g - mean);
        let square = self.betas[1] * square + self.rest[1] * g * g;
        let theta = theta * self.keep;
        let divisor = square.sqrt() / self.root + self.eps;
        (theta - self.rate * (mean / divisor), mean, square)
    }

    /// [`Step::number`] on tensors, anywhere.
    fn apply(
        &self,
        theta: &Tensor,
        gradient: &Tensor,
        mean: &Tensor,
        square: &Tensor,
    ) -> candle_core::Result<(Tensor, Tensor, Tensor)> {
        let wide = |v: f32| f64::from(v);
        let theta = theta.detach();
        let g = (gradient.detach() * wide(self.clip))?;
        let mean = (mean + ((&g - mean)? * wide(self.rest[0]))?)?;
        let square = ((square * wide(self.betas[1]))? + (g.sqr()? * wide(self.rest[1]))?)?;
        let divisor = ((square.sqrt()? / wide(self.root))? + wide(self.eps))?;
        let moved = ((&mean / divisor)? * wide(self.rate))?;
        Ok((((theta * wide(self.keep))? - moved)?, mean, square))
    }
}

/// Numbers that one job updates.
const BLOCK: usize = 8192;

struct AdamOp<'a> {
    step: Step,
    gradient: &'a Tensor,
    moments: RefCell<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
}

impl InplaceOp1 for AdamOp<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("a parameter is not float32 in one piece")
        };
        let values = &mut values[start..end];
        let gradient = numbers(self.gradient)?;
        let mut moments = self.moments.borrow_mut();
        let (mean, square) = &mut *moments;
        if [gradient.len(), mean.len(), square.len()] != [values.len(); 3] {
            bail!(
                "a gradient of {} numbers for {}",
                gradient.len(),
                values.len()
            );
        }
        let step = self.step;
        let parameters = values.par_chunks_mut(BLOCK).zip(gradient.par_chunks(BLOCK));
        let moments = mean.par_chunks_mut(BLOCK).zip(square.par_chunks_mut(BLOCK));
        parameters
            .zip(moments)
            .for_each(|((values, gradient), (mean, square))| {
                for (((x, g), m), v) in values.iter_mut().zip(gradient).zip(mean).zip(square) {
                    (*x, *m, *v) = step.number(*x, *g, *m, *v);
                }
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn parameter() -> Parameter {
        Parameter {
            name: "a".into(),
            var: Var::from_slice(&[1.0f32, -0.5], 2, &Device::Cpu).expect("a variable"),
        }
    }

    fn gradient(values: [f32; 2]) -> Tensor {
        Tensor::from_slice(&values, 2, &Device::Cpu).expect("a gradient")
    }

    /// Three steps by the formula of the design, in float64; one of them is clipped.
    #[test]
    fn steps_equal_the_formula() {
        let settings = OptimizerSettings {
            learning_rate: 0.1,
            ..OptimizerSettings::default()
        };
        let parameters = [parameter()];
        let mut adam = AdamW::new(settings, &parameters).expect("an optimizer");
        let (mut x, mut m, mut v) = ([1.0f64, -0.5], [0.0; 2], [0.0; 2]);
        for (t, g) in [[0.5f32, 0.25], [-2.0, 1.0], [0.1, 0.0]]
            .into_iter()
            .enumerate()
        {
            let gradients = [gradient(g)];
            let norm = AdamW::norm(&gradients).expect("a norm");
            adam.step(&parameters, &gradients, norm).expect("a step");
            let clip = (1.0 / (norm + 1e-6)).min(1.0);
            for i in 0..2 {
                let g = f64::from(g[i]) * clip;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (a, b) = (
                    1.0 - 0.9f64.powi(t as i32 + 1),
                    1.0 - 0.999f64.powi(t as i32 + 1),
                );
                x[i] = x[i] * (1.0 - 0.1 * 0.01) - 0.1 / a * m[i] / (v[i].sqrt() / b.sqrt() + 1e-8);
            }
            let ours = parameters[0].values().expect("values");
            for i in 0..2 {
                assert!((f64::from(ours[i]) - x[i]).abs() < 1e-5, "{ours:?} {x:?}");
            }
        }
        assert_eq!(adam.steps(), 3);
    }

    /// What GPUs take is the processor's step.
    #[test]
    fn tensor_steps_equal_the_kernels() {
        let parameters = [parameter()];
        let mut adam = AdamW::new(OptimizerSettings::default(), &parameters).expect("one");
        adam.steps = 4;
        let step = adam.of_step(3.0);
        let (mean, square, g) = (
            gradient([0.3, -0.2]),
            gradient([0.02, 0.5]),
            gradient([2.0, -1.0]),
        );
        let (theta, m, v) = step
            .apply(&parameters[0].var, &g, &mean, &square)
            .expect("a step");
        let by_tensor = [theta, m, v].map(|t| t.to_vec1::<f32>().expect("numbers"));
        for i in 0..2 {
            let at = |t: &Tensor| t.to_vec1::<f32>().expect("numbers")[i];
            let (x, m, v) = step.number(at(&parameters[0].var), at(&g), at(&mean), at(&square));
            for (ours, theirs) in [x, m, v].into_iter().zip(by_tensor.iter().map(|t| t[i])) {
                assert!(
                    (ours - theirs).abs() <= 1e-6 * ours.abs(),
                    "{ours} {theirs}"
                );
            }
        }
    }

    #[test]
    fn rates_rise_from_zero_over_the_warmup() {
        let settings = OptimizerSettings {
            learning_rate: 1.0,
            warmup_steps: 4,
            ..OptimizerSettings::default()
        };
        let rates: Vec<f64> = (1..=6).map(|step| settings.rate(step)).collect();
        assert_eq!(rates, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]);
        assert_eq!(OptimizerSettings::default().rate(1), 1e-5);
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let wrong = OptimizerSettings {
            betas: [0.9, 1.0],
            ..OptimizerSettings::default()
        };
        let text = wrong.check().expect_err("a wrong beta").to_string();
        assert!(text.contains("betas = 1"), "{text}");
    }
}
