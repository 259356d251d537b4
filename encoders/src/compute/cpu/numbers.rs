//! What training changes, in the program's memory.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::compute::numbers::{Numbers, OptimizerStep};
use crate::error::Result;

/// Elements that one task goes through.
const PART: usize = 1 << 16;

impl Numbers for Vec<f32> {
    type Memory = ();

    fn zeros((): &(), len: usize) -> Result<Vec<f32>> {
        Ok(vec![0.0; len])
    }

    fn new((): &(), values: Vec<f32>) -> Result<Vec<f32>> {
        Ok(values)
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn read(&self) -> Result<Cow<'_, [f32]>> {
        Ok(self.as_slice().into())
    }

    fn take(&mut self, first: usize, other: &mut Vec<f32>) -> Result<()> {
        let slots = &mut self[first..first + other.len()];
        slots.par_chunks_mut(PART).zip(other.par_chunks_mut(PART)).for_each(|(sum, part)| {
            for (sum, x) in sum.iter_mut().zip(part) {
                *sum += std::mem::take(x);
            }
        });
        Ok(())
    }

    fn add_rows(&mut self, rows: &[u32], values: &Vec<f32>, factor: f32) -> Result<()> {
        let columns = values.len() / rows.len().max(1);
        for (row, values) in rows.iter().zip(values.chunks_exact(columns.max(1))) {
            let sum = &mut self[*row as usize * columns..][..columns];
            sum.iter_mut().zip(values).for_each(|(sum, x)| *sum += x * factor);
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        self.par_chunks_mut(PART).for_each(|part| part.fill(0.0));
        Ok(())
    }

    fn squared_sum(&self) -> Result<f64> {
        // Sums of parts are added in order, so that the number of threads changes nothing.
        let square = |part: &[f32]| part.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
        Ok(self.par_chunks(PART).map(square).collect::<Vec<f64>>().into_iter().sum())
    }

    fn step(
        &mut self,
        gradient: &Vec<f32>,
        [first, second]: [&mut Vec<f32>; 2],
        with: &OptimizerStep,
    ) -> Result<()> {
        let OptimizerStep { learning_rate, betas: (beta1, beta2), eps, decay, scale, number } = *with;
        let size = (learning_rate / (1.0 - beta1.powi(number as i32))) as f32;
        let correction = (1.0 / (1.0 - beta2.powi(number as i32)).sqrt()) as f32;
        let (eps, b1, b2) = (eps as f32, beta1 as f32, beta2 as f32);
        let (rest1, rest2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
        let kept = (1.0 - learning_rate * decay) as f32;
        let parts = self.par_chunks_mut(PART).zip(gradient.par_chunks(PART));
        let parts = parts.zip(first.par_chunks_mut(PART)).zip(second.par_chunks_mut(PART));
        parts.for_each(|(((values, gradient), first), second)| {
            for (((value, g), m), v) in values.iter_mut().zip(gradient).zip(first).zip(second) {
                let g = g * scale;
                *m = b1 * *m + rest1 * g;
                *v = b2 * *v + rest2 * g * g;
                *value = *value * kept - size * *m / (v.sqrt() * correction + eps);
            }
        });
        Ok(())
    }
}
