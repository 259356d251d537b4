//! The space where nearer means better under the Euclidean distance, whatever the metric; `quantization::int8` says
//! why.
//!
//! Under L2 rows stay as they are. Under cosine they are divided by their lengths. Under inner product they get one
//! more component √(M² - ‖v‖²), M being the greatest length of a row. A zero row has this component under cosine too,
//! so that it lies at a right angle to all others.

use rayon::prelude::*;

use crate::metric::Metric;
use crate::quantization::int8::{factor, squared_length};

/// Where rows and queries lie.
#[derive(Clone, Copy)]
pub(super) struct Space {
    pub metric: Metric,
    pub dim: usize,
    /// The greatest squared length of a row; 1 where the metric is not the inner product.
    pub longest: f64,
}

impl Space {
    pub fn fit(metric: Metric, dim: usize, rows: &[f32]) -> Space {
        let longest = match metric {
            Metric::Cosine | Metric::L2 => 1.0,
            Metric::InnerProduct => rows.par_chunks_exact(dim).map(squared_length).reduce(|| 0.0, f64::max),
        };
        Space { metric, dim, longest }
    }

    /// A row, (D + 1).
    pub fn row(&self, row: &[f32]) -> Vec<f32> {
        let squared = squared_length(row);
        let extra = match self.metric {
            Metric::L2 => 0.0,
            Metric::Cosine => f64::from(u8::from(squared == 0.0)),
            Metric::InnerProduct => (self.longest - squared).sqrt(),
        };
        extended(row, factor(self.metric, squared), extra)
    }

    /// A query, (D + 1). A query's length does not change the order of inner products. It is made as long as the
    /// longest row, because rounding beside a much longer query would hide differences between rows.
    pub fn query(&self, query: &[f32]) -> Vec<f32> {
        let squared = squared_length(query);
        let factor = match self.metric {
            Metric::InnerProduct if squared > 0.0 => (self.longest / squared).sqrt(),
            metric => factor(metric, squared),
        };
        extended(query, factor, 0.0)
    }
}

fn extended(vector: &[f32], factor: f64, extra: f64) -> Vec<f32> {
    vector.iter().map(|x| (f64::from(*x) * factor) as f32).chain([extra as f32]).collect()
}
