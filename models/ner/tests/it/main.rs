//! The engine against spaCy's recordings, in one program.

mod golden;
