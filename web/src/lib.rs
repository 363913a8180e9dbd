//! Asks the web for one url at a time and cannot be hurt by what it answers: checked addresses, capped sizes and times,
//! the wishes of the sites.
//!
//! Who may be asked when is not decided here: a [`Gate`] does that. What is done with the bytes neither.

mod address;
mod client;
mod failure;
mod gate;
mod opt_out;
mod room;
mod settings;

pub use client::{Body, Client, Try};
pub use failure::{Failure, Retry};
pub use gate::{Gate, Open, Pass, Verdict};
pub use room::{Room, RoomShare};
pub use settings::WebSettings;
