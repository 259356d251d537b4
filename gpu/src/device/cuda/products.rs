//! Products by cuBLASLt, with the fastest of the algorithms that it offers.
//!
//! cuBLASLt has matrices by columns. Row-major (rows, columns) are column-major (columns, rows), so what is computed is
//! the transpose: out^T = right^T left^T.

use std::collections::HashMap;
use std::ffi::c_void;

use cudarc::cublaslt::result as lt;
use cudarc::cublaslt::sys as lts;
use cudarc::driver::result as driver;
use cudarc::driver::sys;

use super::{Event, failed};
use crate::error::{Error, Result};
use crate::memory::Address;
use crate::product::{Kind, Operand, Product};

/// Bytes that cuBLASLt may use for parts of sums: what NVIDIA advises for Hopper.
const WORKSPACE: usize = 32 << 20;
/// Algorithms that are timed.
const CANDIDATES: usize = 8;
/// Plans that are kept. One has a kilobyte.
const PLANS: usize = 4096;

pub(super) fn library_is_present() -> bool {
    // SAFETY: looking for a library by name runs its initialisers, which are NVIDIA's.
    unsafe { lts::is_culib_present() }
}

/// What decides which algorithms there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    sizes: [usize; 3],
    operands: [(Kind, usize, bool, u32); 3],
    adds: bool,
}

/// Products of one shape.
struct Plan {
    description: lts::cublasLtMatmulDesc_t,
    /// Of right, left and out: cuBLASLt's A, B, and C = D.
    layouts: [lts::cublasLtMatrixLayout_t; 3],
    algorithm: lts::cublasLtMatmulAlgo_t,
}

pub(super) struct Products {
    stream: sys::CUstream,
    handle: lts::cublasLtHandle_t,
    workspace: Address,
    plans: HashMap<Key, Plan>,
    /// What was fastest for about as many rows.
    fastest: HashMap<Key, lts::cublasLtMatmulAlgo_t>,
}

fn lt_failed(what: &str) -> impl FnOnce(lt::CublasError) -> Error {
    let what = what.to_owned();
    move |error| Error::failed(what, error)
}

fn data_type(kind: Kind) -> lts::cudaDataType {
    match kind {
        Kind::Bf16 => lts::cudaDataType::CUDA_R_16BF,
        Kind::F32 => lts::cudaDataType::CUDA_R_32F,
        Kind::I8 => lts::cudaDataType::CUDA_R_8I,
        Kind::I32 => lts::cudaDataType::CUDA_R_32I,
    }
}

/// The largest power of two, at most 256, that divides an address.
fn alignment(address: Address) -> u32 {
    1 << address.trailing_zeros().min(8)
}

/// The number with all but its three highest bits set to one: rows of about one number have one of these.
fn about(rows: usize) -> usize {
    let low = (usize::BITS - rows.leading_zeros()).saturating_sub(3);
    rows | ((1 << low) - 1)
}

impl Key {
    fn of(product: &Product) -> Key {
        let operand = |of: &Operand| (of.kind, of.stride, of.transposed, alignment(of.address));
        Key {
            sizes: [product.rows, product.columns, product.depth],
            operands: [operand(&product.left), operand(&product.right), operand(&product.out)],
            adds: product.beta != 0.0,
        }
    }

    fn about(mut self) -> Key {
        self.sizes[0] = about(self.sizes[0]);
        self
    }
}

impl Products {
    pub(super) fn new(stream: sys::CUstream) -> Result<Products> {
        let handle = lt::create_handle().map_err(lt_failed("starting cuBLASLt"))?;
        // SAFETY: `free` frees it.
        let workspace =
            unsafe { driver::malloc_sync(WORKSPACE) }.map_err(failed("allocating a workspace"))?;
        Ok(Products { stream, handle, workspace, plans: HashMap::new(), fastest: HashMap::new() })
    }

    pub(super) fn free(&mut self) {
        self.forget();
        // SAFETY: `new` made them, and the device is done.
        unsafe {
            let _ = driver::free_sync(self.workspace);
            let _ = lt::destroy_handle(self.handle);
        }
    }

    fn forget(&mut self) {
        for (_, plan) in self.plans.drain() {
            // SAFETY: the plan made them and is gone.
            unsafe {
                let _ = lt::destroy_matmul_desc(plan.description);
                for layout in plan.layouts {
                    let _ = lt::destroy_matrix_layout(layout);
                }
            }
        }
    }

    pub(super) fn multiply(&mut self, product: &Product) -> Result<()> {
        let key = Key::of(product);
        if !self.plans.contains_key(&key) {
            if self.plans.len() >= PLANS {
                self.forget();
            }
            let plan = self.plan(product, key)?;
            self.plans.insert(key, plan);
        }
        self.run(product, &self.plans[&key])
    }

    fn run(&self, product: &Product, plan: &Plan) -> Result<()> {
        // Scales have the type of the sums.
        let (alpha, beta) = (product.alpha, product.beta);
        let (alpha_int, beta_int) = (alpha as i32, beta as i32);
        let scales: [*const c_void; 2] = match product.out.kind {
            Kind::I32 => [(&raw const alpha_int).cast(), (&raw const beta_int).cast()],
            _ => [(&raw const alpha).cast(), (&raw const beta).cast()],
        };
        let at = |address: Address| address as *mut c_void;
        // SAFETY: `Product::run` checked that the buffers hold the matrices; the plan is of their shapes.
        unsafe {
            lt::matmul(
                self.handle,
                plan.description,
                scales[0],
                scales[1],
                at(product.right.address),
                plan.layouts[0],
                at(product.left.address),
                plan.layouts[1],
                at(product.out.address),
                plan.layouts[2],
                at(product.out.address),
                plan.layouts[2],
                &raw const plan.algorithm,
                at(self.workspace),
                WORKSPACE,
                self.stream.cast(),
            )
        }
        .map_err(|error| Error::failed(format!("multiplying {product:?}"), error))
    }

    fn plan(&mut self, product: &Product, key: Key) -> Result<Plan> {
        let sums = match product.out.kind {
            Kind::I32 => (lts::cublasComputeType_t::CUBLAS_COMPUTE_32I, lts::cudaDataType::CUDA_R_32I),
            _ => (lts::cublasComputeType_t::CUBLAS_COMPUTE_32F, lts::cudaDataType::CUDA_R_32F),
        };
        let description = lt::create_matmul_desc(sums.0, sums.1).map_err(lt_failed("planning a product"))?;
        use lts::cublasLtMatmulDescAttributes_t as Attribute;
        let transposes = [
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSA, product.right.transposed),
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSB, product.left.transposed),
        ];
        for (attribute, transposed) in transposes {
            let value = i32::from(transposed);
            // SAFETY: the attribute is of four bytes.
            unsafe { lt::set_matmul_desc_attribute(description, attribute, (&raw const value).cast(), 4) }
                .map_err(lt_failed("planning a product"))?;
        }
        let layout = |operand: &Operand, rows: usize, columns: usize| {
            // Rows and columns as they are stored; by columns they change places.
            let (rows, columns) = if operand.transposed { (columns, rows) } else { (rows, columns) };
            lt::create_matrix_layout(
                data_type(operand.kind),
                columns as u64,
                rows as u64,
                operand.stride as i64,
            )
            .map_err(lt_failed("planning a product"))
        };
        let Product { rows, columns, depth, .. } = *product;
        let layouts = [
            layout(&product.right, depth, columns)?,
            layout(&product.left, rows, depth)?,
            layout(&product.out, rows, columns)?,
        ];
        let found = self.algorithms(product, description, layouts)?;
        let mut plan = Plan { description, layouts, algorithm: found[0] };
        match self.fastest.get(&key.about()) {
            Some(known) if self.takes(&plan, known) => plan.algorithm = *known,
            Some(_) => (),
            None => {
                if let Some(fastest) = self.time(product, &mut plan, &found)? {
                    plan.algorithm = fastest;
                    self.fastest.insert(key.about(), fastest);
                }
            }
        }
        Ok(plan)
    }

    /// What cuBLASLt offers, the likely fastest first.
    fn algorithms(
        &self,
        product: &Product,
        description: lts::cublasLtMatmulDesc_t,
        layouts: [lts::cublasLtMatrixLayout_t; 3],
    ) -> Result<Vec<lts::cublasLtMatmulAlgo_t>> {
        use lts::cublasLtMatmulPreferenceAttributes_t as Preference;
        let preference = lt::create_matmul_pref().map_err(lt_failed("planning a product"))?;
        let workspace = WORKSPACE;
        let [a, b, c] = [&product.right, &product.left, &product.out].map(|of| alignment(of.address));
        let alignments = [
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, a),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, b),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c),
            (Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c),
        ];
        let mut results: Vec<lts::cublasLtMatmulHeuristicResult_t> = Vec::with_capacity(CANDIDATES);
        // SAFETY: values have the sizes that are given; cuBLASLt writes at most CANDIDATES results and says how many.
        let status = unsafe {
            let most = Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            let mut status =
                lt::set_matmul_pref_attribute(preference, most, (&raw const workspace).cast(), 8);
            for (attribute, bytes) in alignments {
                let set = lt::set_matmul_pref_attribute(preference, attribute, (&raw const bytes).cast(), 4);
                status = status.and(set);
            }
            let mut count = 0;
            let [a, b, c] = layouts;
            let status = status.and_then(|()| {
                lts::cublasLtMatmulAlgoGetHeuristic(
                    self.handle,
                    description,
                    a,
                    b,
                    c,
                    c,
                    preference,
                    CANDIDATES as i32,
                    results.as_mut_ptr(),
                    &raw mut count,
                )
                .result()
            });
            results.set_len(count.max(0) as usize);
            let _ = lt::destroy_matmul_pref(preference);
            status
        };
        status.map_err(|error| Error::failed(format!("planning {product:?}"), error))?;
        let usable = |result: &lts::cublasLtMatmulHeuristicResult_t| result.state.result().is_ok();
        let found: Vec<_> =
            results.iter().filter(|result| usable(result)).map(|result| result.algo).collect();
        match found.is_empty() {
            true => Err(Error::failed(format!("planning {product:?}"), "cuBLASLt offers no algorithm")),
            false => Ok(found),
        }
    }

    /// Whether an algorithm that was found for other rows does for these.
    fn takes(&self, plan: &Plan, algorithm: &lts::cublasLtMatmulAlgo_t) -> bool {
        let mut result = std::mem::MaybeUninit::<lts::cublasLtMatmulHeuristicResult_t>::uninit();
        let [a, b, c] = plan.layouts;
        // SAFETY: the plan is alive, and the result is only read if cuBLASLt wrote it.
        unsafe {
            let (handle, description) = (self.handle, plan.description);
            lts::cublasLtMatmulAlgoCheck(handle, description, a, b, c, c, algorithm, result.as_mut_ptr())
                .result()
                .is_ok()
                && result.assume_init().workspaceSize <= WORKSPACE
        }
    }

    /// The fastest of several; none if there is no memory to try them in.
    fn time(
        &self,
        product: &Product,
        plan: &mut Plan,
        algorithms: &[lts::cublasLtMatmulAlgo_t],
    ) -> Result<Option<lts::cublasLtMatmulAlgo_t>> {
        // What is added to must be added to once: the trials have a place of their own.
        let mut trial = *product;
        let scratch = match product.beta != 0.0 {
            true => {
                let bytes =
                    ((product.rows - 1) * product.out.stride + product.columns) * product.out.kind.bytes();
                // SAFETY: it is freed below.
                let Ok(address) = (unsafe { driver::malloc_sync(bytes) }) else { return Ok(None) };
                trial.out.address = address;
                Some(address)
            }
            false => None,
        };
        let mut fastest = None;
        for algorithm in algorithms {
            plan.algorithm = *algorithm;
            let milliseconds = self.milliseconds(&trial, plan);
            if let Ok(milliseconds) = milliseconds
                && fastest.is_none_or(|(least, _)| milliseconds < least)
            {
                fastest = Some((milliseconds, *algorithm));
            }
        }
        if let Some(address) = scratch {
            // SAFETY: allocated above; the trials are done.
            let _ = unsafe { driver::free_sync(address) };
        }
        Ok(fastest.map(|(_, algorithm)| algorithm))
    }

    fn milliseconds(&self, product: &Product, plan: &Plan) -> Result<f64> {
        let [start, end] = [Event::new()?, Event::new()?];
        self.run(product, plan)?;
        start.record(self.stream)?;
        self.run(product, plan)?;
        self.run(product, plan)?;
        end.record(self.stream)?;
        end.wait()?;
        start.milliseconds_to(&end)
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::Gpu;

    /// Rows of one group differ by less than a quarter, and all below 8 are told apart.
    #[test]
    fn rows_of_about_one_number_have_one_plan() {
        assert_eq!([1, 7, 8, 9, 10, 31, 32, 4160].map(about), [1, 7, 9, 9, 11, 31, 39, 5119]);
        for rows in 1..5000 {
            let group = about(rows);
            assert!(group >= rows && 4 * group < 5 * rows + 4, "{rows} {group}");
            assert_eq!(about(group), group);
            assert!(about(rows + 1) >= group);
        }
    }

    #[test]
    fn alignment_is_that_of_the_address() {
        assert_eq!(
            [1, 2, 6, 16, 48, 0x300, 0x7f00_0000_0000, 0].map(alignment),
            [1, 2, 2, 16, 16, 256, 256, 256]
        );
    }

    /// Addresses make no difference, but for what divides them. All else does that cuBLASLt is told.
    #[test]
    fn plans_are_kept_by_what_decides_them() {
        let gpu = Gpu::emulated();
        let halves = gpu.buffer::<bf16>(4096).unwrap();
        let sums = gpu.buffer::<f32>(4096).unwrap();
        let (left, right) = (Operand::at(&halves, 0, 32), Operand::at(&halves, 1024, 32).transposed());
        let out = Operand::at(&sums, 0, 16);
        let base = Product { left, right, out, rows: 33, columns: 16, depth: 32, alpha: 1.0, beta: 0.0 };
        let key = |product: Product| Key::of(&product);
        assert!(key(base) == key(Product { left: Operand::at(&halves, 2048, 32), alpha: 0.5, ..base }));
        for other in [
            Product { left: Operand::at(&halves, 1, 32), ..base },
            Product { left: Operand::at(&halves, 0, 40), ..base },
            Product { left: left.transposed(), ..base },
            Product { out: Operand::at(&halves, 0, 16), ..base },
            Product { rows: 34, ..base },
            Product { columns: 8, ..base },
            Product { depth: 24, ..base },
            Product { beta: 1.0, ..base },
        ] {
            assert!(key(base) != key(other), "{other:?}");
        }
        assert!(key(base).about() == key(Product { rows: 39, ..base }).about());
        assert!(key(base).about() != key(Product { rows: 40, ..base }).about());
        assert!(key(base).about() != key(Product { depth: 24, ..base }).about());
    }
}
