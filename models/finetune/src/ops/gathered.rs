//! Where gradients of weights are gathered while one thread goes back through the network.
//!
//! candle's own store would make zeros, add, and make a sum for each of them, over threads that wait
//! for each other spinning. Here a kernel adds to the numbers in place.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::{Result, Tensor, TensorId};

use super::tensor;

/// Gradients by the variable that they are of.
pub(crate) type Gathered = HashMap<TensorId, Vec<f32>>;

thread_local! {
    /// `None` where gradients go through candle's store.
    static OPEN: RefCell<Option<Gathered>> = const { RefCell::new(None) };
}

/// What `back` returns, and the gradients of variables that its kernels added meanwhile. `back` must
/// not wait for work that gathers too: the thread could take it up.
pub(crate) fn gather<T>(back: impl FnOnce() -> T) -> (T, Gathered) {
    OPEN.set(Some(Gathered::new()));
    let result = back();
    (result, OPEN.take().unwrap_or_default())
}

/// The gradient by `argument`, to which `add` adds: gathered if it is a variable and gradients are
/// being gathered, else returned; none if nothing trained depends on it.
pub(crate) fn gradient(
    argument: &Tensor,
    add: impl FnOnce(&mut [f32]) -> Result<()>,
) -> Result<Option<Tensor>> {
    if !argument.track_op() {
        return Ok(None);
    }
    let count = argument.elem_count();
    // Taken out, so that `add` may do anything.
    let kept = OPEN.with_borrow_mut(|open| {
        let gathered = open.as_mut().filter(|_| argument.is_variable())?;
        let known = gathered.remove(&argument.id());
        Some(known.unwrap_or_else(|| vec![0f32; count]))
    });
    let gathers = kept.is_some();
    let mut values = kept.unwrap_or_else(|| vec![0f32; count]);
    add(&mut values)?;
    if !gathers {
        return Ok(Some(tensor(values, argument.shape())?));
    }
    OPEN.with_borrow_mut(|open| {
        if let Some(gathered) = open {
            gathered.insert(argument.id(), values);
        }
    });
    Ok(None)
}
