//! Asks the web for one url at a time and cannot be hurt by what it answers: checked addresses, capped sizes and times,
//! the wishes of the sites.
//!
//! Who may be asked when is not decided here: a [`Gate`] does that. What is done with the bytes neither.

mod address;
mod answer;
mod client;
mod connect;
mod dns;
mod encoding;
mod exchange;
mod failure;
mod frames;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod head;
mod hop;
mod http1;
mod http2;
mod opt_out;
mod path_pattern;
mod patience;
mod pool;
mod proxy;
mod resolver;
mod retry_after;
mod robots_txt;
mod room;
mod settings;
mod stream;
mod target;
mod tdm;
mod wishes;

pub use client::{Body, Client, Try};
pub use failure::{Failure, Retry, Verdict};
pub use gate::{Gate, Open, Pass};
pub use room::{Room, RoomShare};
pub use settings::WebSettings;
