//! Gradients against difference quotients, the forward pass against the encoder's, threads.

use super::*;

fn workspace(config: &EncoderConfig, size: usize) -> Workspace {
    Workspace::new(config, size, Precision::F32, Reduction::Mean)
}

fn numbers(count: usize, by: f32) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * by + 0.3).sin()).collect()
}

fn setup(activation: Activation, size: usize) -> (EncoderConfig, Tensors, Batch) {
    let config = EncoderConfig {
        input: 5,
        hidden: [7, 6],
        output_tokens: 2,
        output_channels: 3,
        activation,
    };
    let mut parameters = Tensors::zeros(&config);
    for (k, tensor) in parameters.0.iter_mut().enumerate() {
        *tensor = numbers(tensor.len(), 0.7 + k as f32 * 0.13);
    }
    let batch = Batch {
        size,
        inputs: numbers(5 * size, 1.3),
        targets: numbers(6 * size, 0.9),
    };
    (config, parameters, batch)
}

/// The analytic gradient is the difference quotient, parameter by parameter.
#[test]
fn gradients_equal_finite_differences() {
    for activation in [Activation::Gelu, Activation::Relu, Activation::None] {
        let (config, parameters, batch) = setup(activation, 4);
        let mut work = workspace(&config, 4);
        let mut gradient = Tensors::zeros(&config);
        work.gradient(&parameters, &batch, 1.0, &mut gradient);
        for tensor in 0..6 {
            for at in 0..parameters.0[tensor].len() {
                let mut loss_at = |by: f32| {
                    let mut moved = parameters.clone();
                    moved.0[tensor][at] += by;
                    work.loss(&moved, &batch)
                };
                let slope = (loss_at(1e-2) - loss_at(-1e-2)) / 2e-2;
                let found = f64::from(gradient.0[tensor][at]);
                assert!(
                    (slope - found).abs() < 2e-3 + 0.02 * slope.abs(),
                    "{activation:?} {tensor} {at}: {slope} {found}"
                );
            }
        }
    }
}

/// The same network as the one that is shipped.
#[test]
fn forward_pass_equals_the_encoder() {
    let (config, parameters, batch) = setup(Activation::Gelu, 3);
    let layer = |k: usize| laioncele_encoder::Layer {
        weight: parameters.0[2 * k].clone(),
        bias: parameters.0[2 * k + 1].clone(),
    };
    let encoder = laioncele_encoder::Encoder {
        config: config.clone(),
        input_mean: vec![0.0; 5],
        input_std: vec![1.0; 5],
        layers: [layer(0), layer(1), layer(2)],
    };
    let outputs = predictions(&config, &parameters, batch.inputs.clone(), 3);
    for example in 0..3 {
        let features: Vec<f32> = (0..5).map(|f| batch.inputs[f * 3 + example]).collect();
        let expected = encoder.predict(&features).expect("five features");
        for (output, expected) in expected.iter().enumerate() {
            assert!((outputs[output * 3 + example] - expected).abs() < 1e-5);
        }
    }
}

#[test]
fn gradients_are_independent_of_threads() {
    let config = EncoderConfig {
        input: 300,
        hidden: [700, 260],
        output_tokens: 8,
        output_channels: 70,
        activation: Activation::Gelu,
    };
    let mut parameters = Tensors::zeros(&config);
    for (k, tensor) in parameters.0.iter_mut().enumerate() {
        *tensor = numbers(tensor.len(), 0.7 + k as f32 * 0.13);
    }
    let batch = Batch {
        size: 50,
        inputs: numbers(300 * 50, 1.3),
        targets: numbers(560 * 50, 0.9),
    };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        let mut gradient = Tensors::zeros(&config);
        let loss = pool
            .install(|| workspace(&config, 50).gradient(&parameters, &batch, 1.0, &mut gradient));
        (loss.to_bits(), gradient)
    };
    let one = on(1);
    assert!(one == on(2) && one == on(5));
}
