//! The contracts from outside: artefacts of older versions, and what a commit checks.

mod balances;
mod old_artefacts;
