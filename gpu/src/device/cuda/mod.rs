//! NVIDIA GPUs, by the driver and cuBLASLt. Both are looked for when a GPU is opened: a program that has this in it
//! starts without them.
#![allow(unsafe_code)] // Calls of the driver.

mod products;
mod staging;

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::fmt::Display;
use std::io::Read;
use std::sync::Mutex;

use cudarc::driver::DriverError;
use cudarc::driver::result as driver;
use cudarc::driver::sys::{self, CUdevice_attribute, CUfunction_attribute, CUresult};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::launch::Launch;
use crate::memory::{Address, Memory};
use crate::product::Product;
use products::Products;
use staging::Staging;

/// The kernels for any GPU from compute capability 8.0 on, which the driver compiles, gzipped.
const PTX: &[u8] = include_bytes!("../../../kernels/kernels.ptx.gz");
/// The kernels as machine code of compute capability 9.0 (H100, H200), gzipped.
const SM_90: &[u8] = include_bytes!("../../../kernels/kernels.sm_90.cubin.gz");

/// Which of the compiled kernels a GPU is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Machine code where there is some for the GPU.
    Fitting,
    /// What its driver compiles, as it does for a GPU without machine code here.
    Ptx,
}

/// Beyond this a kernel must be allowed its shared memory.
const ALWAYS_ALLOWED_SHARED: usize = 48 << 10;

/// One GPU: its context, one stream, the kernels.
pub(crate) struct Cuda {
    name: String,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    module: sys::CUmodule,
    functions: Mutex<HashMap<&'static str, Function>>,
    staging: Mutex<Staging>,
    products: Mutex<Products>,
}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// Bytes of dynamic shared memory that it may be launched with.
    shared: usize,
}

// SAFETY: handles of the driver may be used from any thread in which the context is current; `bind` makes it so.
unsafe impl Send for Cuda {}
// SAFETY: as above; what is changed is behind mutexes.
unsafe impl Sync for Cuda {}

fn failed(what: &str) -> impl FnOnce(DriverError) -> Error {
    let what = what.to_owned();
    move |error| Error::failed(what, described(error))
}

fn described(error: DriverError) -> String {
    let part = |text: std::result::Result<&std::ffi::CStr, DriverError>| {
        text.map_or_else(|_| format!("{:?}", error.0), |text| text.to_string_lossy().into_owned())
    };
    format!("{} ({})", part(error.error_string()), part(error.error_name()))
}

fn not_usable(found: impl Display) -> Error {
    Error::NotUsable(found.to_string())
}

/// How many GPUs the driver knows: at least one.
pub(crate) fn count() -> Result<usize> {
    // SAFETY: looking for a library by name runs its initialisers, which are the driver's.
    if !unsafe { sys::is_culib_present() } {
        return Err(not_usable(
            "no NVIDIA driver was found (libcuda.so.1 is not among the system's libraries)",
        ));
    }
    driver::init().map_err(|error| {
        not_usable(format!("an NVIDIA driver was found, but it does not start: {}", described(error)))
    })?;
    match driver::device::get_count().map_err(failed("counting GPUs"))? {
        ..=0 => Err(not_usable("an NVIDIA driver was found, but no GPU")),
        count => Ok(count as usize),
    }
}

impl Cuda {
    pub(crate) fn open(number: usize, kernels: Kernels) -> Result<Cuda> {
        let count = count()?;
        let ordinal = i32::try_from(number).ok().filter(|_| number < count).ok_or_else(|| match count {
            1 => not_usable(format!("there is one GPU, cuda:0, and none of number {number}")),
            _ => not_usable(format!(
                "there are GPUs cuda:0 to cuda:{}, and none of number {number}",
                count - 1
            )),
        })?;
        let device = driver::device::get(ordinal).map_err(failed("opening a GPU"))?;
        let name = driver::device::get_name(device).map_err(failed("asking a GPU for its name"))?;
        // SAFETY: the driver just gave this device.
        let attribute = |of| unsafe { driver::device::get_attribute(device, of) };
        let major = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
            .map_err(failed("asking a GPU for its capability"))?;
        if major < 8 {
            return Err(not_usable(format!(
                "{name} has compute capability {major}, but bf16 products need 8.0 (Ampere) or later"
            )));
        }
        if !products::library_is_present() {
            return Err(not_usable(format!(
                "{name} was found, but not cuBLASLt (libcublasLt.so.13): install CUDA 13's libraries, or the package \
                 nvidia-cublas of PyPI, and let LD_LIBRARY_PATH name their folder"
            )));
        }
        // SAFETY: as above.
        let context = unsafe { driver::primary_ctx::retain(device) }.map_err(failed("opening a context"))?;
        // SAFETY: the context was just retained, and is released when `Cuda` is dropped.
        unsafe { driver::ctx::set_current(context) }.map_err(failed("entering a context"))?;
        let module = load_module(major, kernels, &name)?;
        let stream = driver::stream::create(driver::stream::StreamKind::NonBlocking)
            .map_err(failed("creating a stream"))?;
        Ok(Cuda {
            name,
            device,
            context,
            stream,
            module,
            functions: Mutex::default(),
            staging: Mutex::new(Staging::new(stream)?),
            products: Mutex::new(Products::new(stream)?),
        })
    }

    /// Makes the context that of this thread.
    fn bind(&self) -> Result<()> {
        // SAFETY: the context is retained as long as `self` is.
        unsafe { driver::ctx::set_current(self.context) }.map_err(failed("entering a context"))
    }

    fn function(&self, name: &'static str, shared: usize) -> Result<sys::CUfunction> {
        let mut functions = self.functions.lock().expect("no panic while functions are held");
        let function = match functions.get(name) {
            Some(function) => *function,
            None => {
                let symbol = CString::new(name).expect("names of kernels have no zero");
                // SAFETY: the module is loaded as long as `self` is.
                let handle = unsafe { driver::module::get_function(self.module, symbol) }
                    .map_err(|error| Error::failed(format!("finding kernel {name}"), described(error)))?;
                Function { handle, shared: ALWAYS_ALLOWED_SHARED }
            }
        };
        let allowed = function.shared.max(shared);
        if allowed > function.shared {
            let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is of the loaded module.
            unsafe { driver::function::set_function_attribute(function.handle, attribute, allowed as i32) }
                .map_err(|error| {
                Error::failed(format!("giving kernel {name} {shared} bytes"), described(error))
            })?;
        }
        functions.insert(name, Function { shared: allowed, ..function });
        Ok(function.handle)
    }
}

/// The kernels: machine code where there is some for the GPU, else what its driver compiles.
fn load_module(major: i32, kernels: Kernels, name: &str) -> Result<sys::CUmodule> {
    let mut image = Vec::new();
    let packed = if major == 9 && kernels == Kernels::Fitting { SM_90 } else { PTX };
    flate2::read::GzDecoder::new(packed).read_to_end(&mut image).expect("the kernels were packed whole");
    image.push(0); // PTX is a text that ends with a zero.
    // SAFETY: the image is a whole cubin, or a text with its zero, and lives until this returns.
    unsafe { driver::module::load_data(image.as_ptr().cast()) }.map_err(|error| {
        not_usable(format!(
            "{name} was found, but its driver does not take our kernels, which are of CUDA 13.0 and need a driver \
             from 580 on: {}",
            described(error)
        ))
    })
}

impl Backend for Cuda {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn memory(&self) -> Result<Memory> {
        self.bind()?;
        let (free, total) = driver::mem_get_info().map_err(failed("asking for free memory"))?;
        Ok(Memory { free, total })
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.bind()?;
        // SAFETY: the context is current; `free` frees what this gives.
        match unsafe { driver::malloc_sync(bytes) } {
            Ok(address) => Ok(address),
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                let Memory { free, total } = self.memory()?;
                Err(Error::OutOfMemory { wanted: bytes, free, total })
            }
            Err(error) => Err(Error::failed(format!("allocating {bytes} bytes"), described(error))),
        }
    }

    fn free(&self, address: Address, _bytes: usize) {
        // Nothing is left to do if this fails: the device is gone.
        if self.bind().is_ok() {
            // SAFETY: `allocate` gave it, and its owner is gone. The driver waits for what still uses it.
            let _ = unsafe { driver::free_sync(address) };
        }
    }

    fn upload(&self, to: Address, bytes: &[u8]) -> Result<()> {
        self.bind()?;
        self.staging.lock().expect("no panic while staging is held").upload(to, bytes)
    }

    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.bind()?;
        self.staging.lock().expect("no panic while staging is held").download(from, bytes)
    }

    fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's buffers have what is copied.
        unsafe { driver::memcpy_dtod_async(to, from, bytes, self.stream) }.map_err(failed("copying"))
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's buffer has these bytes.
        unsafe { driver::memset_d8_async(at, 0, bytes, self.stream) }.map_err(failed("writing zeros"))
    }

    fn launch(&self, launch: &Launch) -> Result<()> {
        self.bind()?;
        let function = self.function(launch.kernel, launch.shared)?;
        let mut pointers: Vec<*mut c_void> =
            launch.arguments.iter().map(|value| value.bytes.as_ptr().cast_mut().cast()).collect();
        let [x, y, z] = launch.grid;
        // SAFETY: the driver copies as many arguments as the kernel has, which `Launch` promises to hold. The kernel
        // stays within its buffers, or the device ends it with an error.
        unsafe {
            let (shared, stream) = (launch.shared as u32, self.stream);
            driver::launch_kernel(function, (x, y, z), (launch.threads, 1, 1), shared, stream, &mut pointers)
        }
        .map_err(|error| Error::failed(format!("launching kernel {}", launch.kernel), described(error)))
    }

    fn multiply(&self, product: &Product) -> Result<()> {
        self.bind()?;
        self.products.lock().expect("no panic while products are held").multiply(product)
    }

    fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`.
        unsafe { driver::stream::synchronize(self.stream) }.map_err(failed("what was asked for before"))
    }

    fn time(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        self.bind()?;
        let [start, end] = [Event::new()?, Event::new()?];
        start.record(self.stream)?;
        work()?;
        end.record(self.stream)?;
        end.wait()?;
        start.milliseconds_to(&end)
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.bind().is_err() {
            return;
        }
        // Nothing is left to do if one of these fails.
        let _ = self.synchronize();
        self.staging.get_mut().expect("no panic while staging is held").free();
        self.products.get_mut().expect("no panic while products are held").free();
        // SAFETY: nothing uses them any more: work is done, and this is the last owner.
        unsafe {
            let _ = driver::module::unload(self.module);
            let _ = driver::stream::destroy(self.stream);
            let _ = driver::primary_ctx::release(self.device);
        }
    }
}

/// A moment in the stream.
struct Event(sys::CUevent);

impl Event {
    fn new() -> Result<Event> {
        driver::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT)
            .map(Event)
            .map_err(failed("creating an event"))
    }

    fn record(&self, stream: sys::CUstream) -> Result<()> {
        // SAFETY: both are alive.
        unsafe { driver::event::record(self.0, stream) }.map_err(failed("recording an event"))
    }

    fn wait(&self) -> Result<()> {
        // SAFETY: the event is alive.
        unsafe { driver::event::synchronize(self.0) }.map_err(failed("what was asked for before"))
    }

    fn milliseconds_to(&self, end: &Event) -> Result<f64> {
        // SAFETY: both are alive and were recorded.
        let milliseconds = unsafe { driver::event::elapsed(self.0, end.0) };
        milliseconds.map(f64::from).map_err(failed("reading a clock"))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: this is its only owner.
        let _ = unsafe { driver::event::destroy(self.0) };
    }
}
