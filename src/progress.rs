//! What long work says of itself while it runs.

use secateur_encoders::train::StepReport;

/// What a call tells its caller on the way. Nothing has to be done about it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Work begins. What was told before is over.
    Begins {
        /// What is done, such as "encoding".
        what: &'static str,
        /// What is counted, as one of it is called: "document".
        unit: &'static str,
        /// How many there are, if that is known. It is a function because counting may read a file.
        total: &'a dyn Fn() -> Option<u64>,
    },
    /// So many units are done.
    Done(usize),
    /// A step of training was taken.
    Step(&'a StepReport),
    /// The device that was chosen, and what else was looked for and not found.
    ComputesOn(&'a str),
}

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Progress::Begins { what, unit, .. } => write!(f, "Begins({what} {unit})"),
            Progress::Done(done) => write!(f, "Done({done})"),
            Progress::Step(report) => write!(f, "Step({})", report.step),
            Progress::ComputesOn(device) => write!(f, "ComputesOn({device})"),
        }
    }
}
