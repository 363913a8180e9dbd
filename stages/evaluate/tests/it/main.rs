//! Figures against torchmetrics, clean-fid, transformers and SciPy, as `tests/fixtures/README.md` says.

mod fixture;
mod numbers;
mod pictures;
