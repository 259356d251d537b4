//! Arrays of activations on a GPU, and what is put off of them.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use secateur_gpu::Buffer;
use secateur_gpu::heads::Rotation;
use secateur_gpu::rows::{self, Half, Norm};

use super::Cuda;
use super::weights::padded;
use crate::error::Result;

/// A (T, columns) array.
pub struct Activations {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) state: State,
}

/// How an array is there.
pub(super) enum State {
    /// As zeros that are nowhere yet.
    Zero,
    /// In f32, in bf16, or both.
    Stored { full: Option<Arc<Buffer<f32>>>, half: Option<Arc<Half>> },
    /// As the norm of these rows, which the next product takes on its way.
    Normed { full: Arc<Buffer<f32>>, norm: Arc<Norm> },
    /// In bf16, with something still to be done, as a rule by the attention. It is done in place.
    Deferred(Mutex<Deferred>),
}

/// Rows to which something is still to be done.
pub(super) struct Deferred {
    half: Arc<Half>,
    pending: Pending,
}

/// What is still to be done to joined queries, keys and values, in this order.
#[derive(Clone, Default)]
pub(super) struct Pending {
    pub(super) bias: Option<Arc<Buffer<f32>>>,
    /// The norm of these heads.
    pub(super) norms: Vec<(Range<usize>, Arc<Norm>)>,
    pub(super) rotation: Option<Arc<Rotation>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.bias.is_none() && self.norms.is_empty() && self.rotation.is_none()
    }
}

impl Deferred {
    /// The rows as they are, and what is still to be done.
    pub(super) fn parts(&self) -> (&Half, &Pending) {
        (&self.half, &self.pending)
    }

    /// Does what is still to be done: `run` does it in place.
    pub(super) fn settle(
        &mut self,
        backend: &Cuda,
        run: impl FnOnce(&mut Half, &Pending) -> Result<()>,
    ) -> Result<Arc<Half>> {
        if !self.pending.is_empty() {
            if Arc::get_mut(&mut self.half).is_none() {
                self.half = Arc::new(backend.copied(&self.half)?);
            }
            let half = Arc::get_mut(&mut self.half).expect("the copy is nobody else's");
            run(half, &self.pending)?;
            self.pending = Pending::default();
        }
        Ok(Arc::clone(&self.half))
    }
}

/// Nobody panics while something is done to deferred rows.
pub(super) const HELD: &str = "no panic while rows are settled";

impl Activations {
    pub(super) fn full(full: Buffer<f32>, columns: usize) -> Activations {
        let rows = full.len() / columns;
        Activations { rows, columns, state: State::Stored { full: Some(Arc::new(full)), half: None } }
    }

    pub(super) fn half(half: Half) -> Activations {
        let (rows, columns) = (half.rows, half.columns);
        Activations { rows, columns, state: State::Stored { full: None, half: Some(Arc::new(half)) } }
    }

    pub(super) fn both(full: Buffer<f32>, half: Half) -> Activations {
        let (rows, columns) = (half.rows, half.columns);
        let state = State::Stored { full: Some(Arc::new(full)), half: Some(Arc::new(half)) };
        Activations { rows, columns, state }
    }

    pub(super) fn zeros(rows: usize, columns: usize) -> Activations {
        Activations { rows, columns, state: State::Zero }
    }

    /// Whether it is there in bf16 alone.
    pub(super) fn is_half(&self) -> bool {
        matches!(self.state, State::Stored { full: None, .. } | State::Deferred(_))
    }

    /// The array, in place of which zeros stay.
    pub(super) fn take(&mut self) -> Activations {
        let zeros = Activations::zeros(self.rows, self.columns);
        std::mem::replace(self, zeros)
    }

    /// The same numbers in an array of its own: whoever changes one of the two copies them first.
    pub(super) fn share(&self) -> Activations {
        let state = match &self.state {
            State::Zero => State::Zero,
            State::Stored { full, half } => State::Stored { full: full.clone(), half: half.clone() },
            State::Normed { full, norm } => State::Normed { full: Arc::clone(full), norm: Arc::clone(norm) },
            State::Deferred(deferred) => {
                let Deferred { half, pending } = &*deferred.lock().expect(HELD);
                let half = Arc::clone(half);
                State::Deferred(Mutex::new(Deferred { half, pending: pending.clone() }))
            }
        };
        Activations { rows: self.rows, columns: self.columns, state }
    }
}

impl Cuda {
    /// The norm of f32 rows in bf16.
    pub(super) fn normed(&self, full: &Buffer<f32>, columns: usize, norm: &Norm) -> Result<Half> {
        let mut half = Half::new(&self.gpu, full.len() / columns, columns, padded(columns))?;
        rows::norm(full, norm, &mut half)?;
        Ok(half)
    }

    /// In bf16, with all done that was put off.
    pub(super) fn as_half(&self, x: &Activations) -> Result<Arc<Half>> {
        Ok(match &x.state {
            State::Zero => {
                let stride = padded(x.columns);
                let buffer = self.gpu.zeros(x.rows * stride)?;
                Arc::new(Half { buffer, rows: x.rows, columns: x.columns, stride })
            }
            State::Stored { half: Some(half), .. } => Arc::clone(half),
            State::Stored { full, .. } => {
                let full = full.as_ref().expect("an array is stored one way or the other");
                let mut half = Half::new(&self.gpu, x.rows, x.columns, padded(x.columns))?;
                rows::narrow(full, &mut half)?;
                Arc::new(half)
            }
            State::Normed { full, norm } => Arc::new(self.normed(full, x.columns, norm)?),
            State::Deferred(deferred) => deferred.lock().expect(HELD).settle(self, |half, pending| {
                assert!(
                    pending.norms.is_empty() && pending.rotation.is_none(),
                    "attention alone reads heads"
                );
                pending.bias.iter().try_for_each(|bias| Ok(rows::add_bias_half(half, bias)?))
            })?,
        })
    }

    /// In f32, with all done that was put off.
    pub(super) fn as_full(&self, x: &Activations) -> Result<Arc<Buffer<f32>>> {
        match &x.state {
            State::Stored { full: Some(full), .. } => return Ok(Arc::clone(full)),
            State::Zero => return Ok(Arc::new(self.gpu.zeros(x.rows * x.columns)?)),
            _ => {}
        }
        let half = self.as_half(x)?;
        let mut full = self.gpu.buffer(x.rows * x.columns)?;
        rows::widen(&half, &mut full)?;
        Ok(Arc::new(full))
    }

    /// The same, to be changed: it is copied if somebody else still has it.
    pub(super) fn to_full(&self, x: Activations) -> Result<Buffer<f32>> {
        let full = self.as_full(&x)?;
        drop(x);
        Arc::try_unwrap(full).or_else(|shared| {
            let mut own = self.gpu.buffer(shared.len())?;
            own.copy_from(0, &shared, 0, shared.len())?;
            Ok(own)
        })
    }

    /// In bf16, to be changed.
    pub(super) fn to_half(&self, x: Activations) -> Result<Half> {
        let half = self.as_half(&x)?;
        drop(x);
        self.unshared(half)
    }

    /// Rows that nobody else has: copied if somebody does.
    fn unshared(&self, half: Arc<Half>) -> Result<Half> {
        Arc::try_unwrap(half).or_else(|shared| self.copied(&shared))
    }

    fn copied(&self, half: &Half) -> Result<Half> {
        let Half { rows, columns, stride, .. } = *half;
        let mut buffer = self.gpu.buffer(rows * stride)?;
        buffer.copy_from(0, &half.buffer, 0, rows * stride)?;
        Ok(Half { buffer, rows, columns, stride })
    }

    /// Puts something off.
    pub(super) fn put_off(&self, x: Activations, add: impl FnOnce(&mut Pending)) -> Result<Activations> {
        let (rows, columns) = (x.rows, x.columns);
        let mut deferred = match x.state {
            State::Deferred(deferred) => deferred.into_inner().expect(HELD),
            _ => Deferred { half: Arc::new(self.to_half(x)?), pending: Pending::default() },
        };
        add(&mut deferred.pending);
        Ok(Activations { rows, columns, state: State::Deferred(Mutex::new(deferred)) })
    }

    /// A bias without the zeros behind it.
    pub(super) fn outputs_of(&self, bias: &Arc<Buffer<f32>>, rows: usize) -> Result<Arc<Buffer<f32>>> {
        if bias.len() == rows {
            return Ok(Arc::clone(bias));
        }
        let mut own = self.gpu.buffer(rows)?;
        own.copy_from(0, bias, 0, rows)?;
        Ok(Arc::new(own))
    }
}
