//! A run for people: one page that shows all of it ([`page()`]), and everything that happened to a name, a url or an id
//! ([`explain`]).
//!
//! Nothing here changes a run, and nothing here is fussy: a table that is missing, half made or damaged is said to be so, and the
//! rest is shown ([`RunView::remarks`]).

mod curve;
pub mod explain;
mod histogram;
mod identities;
mod merges;
mod numbers;
mod page;
mod pictures;
mod plot;
mod references;
mod samples;
mod similarities;
mod steps;
#[cfg(test)]
mod testing;
mod view;

pub use page::{Evaluation, Facts, ModelFact, Page, SettingFact, Threshold};
pub use page::{ReportError, html, page};
pub use pictures::{Picture, thumbnail};
pub use samples::Person;
pub use steps::StepFact;
pub use view::{RunView, bucket_of};
