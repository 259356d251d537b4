//! What training changes, in the memory of a GPU.

use std::borrow::Cow;

use secateur_gpu::numbers::{self, AdamW};
use secateur_gpu::{Buffer, Gpu};

use crate::compute::numbers::{Numbers, OptimizerStep};
use crate::error::Result;

impl Numbers for Buffer<f32> {
    type Memory = Gpu;

    fn zeros(gpu: &Gpu, len: usize) -> Result<Buffer<f32>> {
        Ok(gpu.zeros(len)?)
    }

    fn new(gpu: &Gpu, values: Vec<f32>) -> Result<Buffer<f32>> {
        Ok(gpu.upload(&values)?)
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn read(&self) -> Result<Cow<'_, [f32]>> {
        Ok(self.to_vec()?.into())
    }

    fn take(&mut self, first: usize, other: &mut Buffer<f32>) -> Result<()> {
        numbers::add(self, first, other)?;
        Ok(other.zero()?)
    }

    fn add_rows(&mut self, rows: &[u32], values: &Buffer<f32>, factor: f32) -> Result<()> {
        Ok(numbers::add_rows(self, rows, values, factor)?)
    }

    fn clear(&mut self) -> Result<()> {
        Ok(self.zero()?)
    }

    fn squared_sum(&self) -> Result<f64> {
        Ok(numbers::squared_sum(self)?)
    }

    fn step(
        &mut self,
        gradient: &Buffer<f32>,
        means: [&mut Buffer<f32>; 2],
        with: &OptimizerStep,
    ) -> Result<()> {
        let OptimizerStep { learning_rate, betas: (beta1, beta2), eps, decay, scale, number } = *with;
        let step = AdamW { rate: learning_rate, beta1, beta2, eps, decay, scale, step: number };
        Ok(step.step(self, gradient, means)?)
    }
}
