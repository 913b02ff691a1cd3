//! What the suites share. The suites themselves are in `tests/`; `README.md` says which shows what.
//!
//! * Cases of the corpus: [`runner`] plays them on a [`subject`], [`again`] over and over; [`survive`] tries hostile
//!   images. All of it happens in children (`run-case`), which [`cores`] starts.
//! * Bad input that nothing of is run: [`pipeline`].
//! * Rules of the load set: [`toy`] is a load set without images, [`model`] what TNS/R's rules say must happen in it;
//!   [`world`] is an engine over the corpus, watched.
//! * What loaded code asks for, and leaves with the process: scenes of [`guest`], in children too.
//! * What confined code tries: scenes of [`confined`].
//! * What a child looks at: [`process`], what the system says of it; [`voice`], what images say; [`call`], what they answer.

pub mod again;
pub mod blas;
pub mod call;
pub mod confined;
pub mod cores;
pub mod crowd;
pub mod endure;
pub mod guest;
pub mod model;
pub mod oracle;
pub mod pipeline;
pub mod process;
pub mod real;
pub mod runner;
pub mod subject;
pub mod survive;
pub mod toy;
pub mod voice;
pub mod world;
