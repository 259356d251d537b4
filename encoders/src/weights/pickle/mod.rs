//! What `torch.save` wrote: a pickle that says which tensors there are, and the bytes of their storages.
//!
//! A pickle is a program. Here it is read and never run. It may make numbers, texts, lists and dictionaries, and name
//! the few functions of torch that put a tensor together. Anything else that it names is refused. The formats are those
//! of `torch/serialization.py`: a zip archive since torch 1.6, and before that several pickles one after the other.

mod machine;
mod object;

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::ops::Range;
use std::path::Path;

use safetensors::Dtype;
use zip::{CompressionMethod, ZipArchive};

use self::machine::Machine;
use self::object::{Object, Tensor};
use crate::error::{Error, Result};

/// Where a tensor lies in the file.
pub(super) struct PickledTensor {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Elements from one to the next in each dimension; none where they lie one after the other.
    pub(super) strides: Option<Vec<usize>>,
    /// Of its first element to the end of its storage.
    pub(super) bytes: Range<usize>,
}

/// The tensors of a file.
pub(super) fn tensors(path: &Path, bytes: &[u8]) -> Result<Vec<PickledTensor>> {
    let refused = |why: String| Error::Pickle { path: path.to_owned(), why };
    read(bytes).map_err(refused)
}

/// What is read of a pickle, or why it is refused.
type Unpickled<T> = std::result::Result<T, String>;

fn read(bytes: &[u8]) -> Unpickled<Vec<PickledTensor>> {
    let (object, storages) = if bytes.starts_with(b"PK") { archive(bytes)? } else { legacy(bytes)? };
    let Object::Dict(entries) = object else {
        return Err(format!("it holds {} and no tensors by name", object.kind()));
    };
    let entries = entries.borrow();
    let mut tensors = Vec::new();
    for (key, value) in entries.iter() {
        let (Object::Text(name), Object::Tensor(tensor)) = (key, value) else { continue };
        let storage = storages
            .get(&tensor.storage)
            .ok_or_else(|| format!("the storage of {name} is not in the file"))?;
        let beyond = || format!("{name} reaches beyond its storage: the file is cut off");
        tensors.push(placed(name, tensor, storage).ok_or_else(beyond)?);
    }
    Ok(tensors)
}

/// A tensor with its place in the file; `None` if it reaches beyond its storage. Numbers of a file may be anything.
fn placed(name: &str, tensor: &Tensor, storage: &Range<usize>) -> Option<PickledTensor> {
    let dims = || tensor.shape.iter().copied().zip(tensor.strides.iter().copied());
    let size = tensor.dtype.bitsize() / 8;
    let count = tensor.shape.iter().try_fold(1usize, |count, n| count.checked_mul(*n))?;
    // One more than the last element's place.
    let reach = match count {
        0 => 0,
        _ => dims().try_fold(1usize, |reach, (n, stride)| reach.checked_add((n - 1).checked_mul(stride)?))?,
    };
    let byte = |element: usize| element.checked_mul(size)?.checked_add(storage.start);
    let bytes = byte(tensor.offset)?..byte(tensor.offset.checked_add(reach)?)?;
    let is_plain = count == 0
        || dims().zip(contiguous(&tensor.shape)).all(|((n, stride), plain)| n == 1 || stride == plain);
    (bytes.end <= storage.end).then(|| PickledTensor {
        name: name.to_owned(),
        dtype: tensor.dtype,
        shape: tensor.shape.clone(),
        strides: (!is_plain).then(|| tensor.strides.clone()),
        bytes,
    })
}

fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].saturating_mul(shape[i]);
    }
    strides
}

type Storages = HashMap<String, Range<usize>>;

/// The format since torch 1.6: NAME/data.pkl, and NAME/data/KEY for each storage, not compressed.
fn archive(bytes: &[u8]) -> Unpickled<(Object, Storages)> {
    let damaged = |error: zip::result::ZipError| format!("the archive is damaged: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let (mut program, mut storages) = (None, Storages::new());
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(damaged)?;
        let name = file.name().map_err(damaged)?.into_owned();
        let Some((_, inner)) = name.split_once('/') else { continue };
        if inner == "data.pkl" {
            let mut data = Vec::new();
            file.read_to_end(&mut data).map_err(|error| format!("the archive is damaged: {error}"))?;
            program = Some(data);
        } else if inner == "byteorder" {
            let mut order = String::new();
            file.read_to_string(&mut order).map_err(|error| format!("the archive is damaged: {error}"))?;
            if order != "little" {
                return Err(format!("its numbers are {order}-endian"));
            }
        } else if let Some(key) = inner.strip_prefix("data/") {
            if file.compression() != CompressionMethod::Stored {
                return Err("its storages are compressed".to_owned());
            }
            let start = file.data_start().ok_or("the archive does not say where its files begin")? as usize;
            let end = start.checked_add(file.size() as usize).filter(|end| *end <= bytes.len());
            storages.insert(key.to_owned(), start..end.ok_or("the archive is cut off")?);
        }
    }
    let program = program.ok_or("the archive has no data.pkl")?;
    Ok((Machine::new(&program).run()?, storages))
}

/// The number that files of before torch 1.6 begin with.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The format of before. The magic number, the version, the machine, the object and the keys of the storages come
/// first, each a pickle. For each key the number of elements and the elements follow.
fn legacy(bytes: &[u8]) -> Unpickled<(Object, Storages)> {
    let mut machine = Machine::new(bytes);
    let not_torch = || "it is neither an archive nor an old file of torch".to_owned();
    match machine.run().map_err(|_| not_torch())? {
        Object::Long(magic) if magic == MAGIC => {}
        _ => return Err(not_torch()),
    }
    machine.run()?;
    machine.run()?;
    let object = machine.run()?;
    let Object::List(keys) = machine.run()? else { return Err("it does not list its storages".to_owned()) };
    let (mut at, mut storages) = (machine.at, Storages::new());
    let sizes = machine.sizes;
    for key in keys.borrow().iter() {
        let Object::Text(key) = key else { return Err("a storage has no name".to_owned()) };
        let count: [u8; 8] = bytes.get(at..at + 8).ok_or("the file is cut off")?.try_into().expect("8 bytes");
        let size = sizes.get(key).copied().unwrap_or(1);
        let length = (u64::from_le_bytes(count) as usize).checked_mul(size).ok_or("a storage is too long")?;
        let start = at + 8;
        let end = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or("the file is cut off")?;
        storages.insert(key.clone(), start..end);
        at = end;
    }
    Ok((object, storages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_stay_in_their_storage() {
        let place = |offset, shape: &[usize], strides: &[usize]| {
            let (shape, strides) = (shape.to_vec(), strides.to_vec());
            let tensor = Tensor { dtype: Dtype::F32, storage: "0".to_owned(), offset, shape, strides };
            placed("w", &tensor, &(100..148)).map(|placed| (placed.bytes, placed.strides.is_some()))
        };
        assert_eq!(place(0, &[3, 4], &[4, 1]), Some((100..148, false)));
        assert_eq!(place(0, &[4, 3], &[1, 4]), Some((100..148, true)), "transposed");
        assert_eq!(place(4, &[2, 1], &[9, 1]), None, "element 13 of 12");
        assert_eq!(place(12, &[0, 7], &[7, 1]), Some((148..148, false)));
        for (offset, shape, strides) in [
            (1, [3, 4], [4, 1]),
            (usize::MAX, [1, 1], [1, 1]),
            (usize::MAX / 4, [1, 1], [1, 1]),
            (0, [usize::MAX, 2], [2, 1]),
            (0, [2, 2], [usize::MAX, 1]),
            (0, [usize::MAX, 1], [0, 0]),
        ] {
            let fits = place(offset, &shape, &strides).is_some();
            assert_eq!(fits, strides == [0, 0], "{offset} {shape:?} {strides:?}");
        }
    }
}
