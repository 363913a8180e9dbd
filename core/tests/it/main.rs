//! The contracts from outside: artefacts of older versions, and what a commit checks.

mod balances;
mod damaged_records;
mod old_artefacts;
mod protocol;
