//! What `torch.save` wrote: a pickle that says which tensors there are, and the bytes of their storages.
//!
//! A pickle is a program. Here it is read and never run. It may make numbers, texts, lists and dictionaries, and name
//! the few functions of torch that put a tensor together. Anything else that it names is refused. The formats are those
//! of `torch/serialization.py`: a zip archive since torch 1.6, and before that several pickles one after the other.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use safetensors::Dtype;
use zip::{CompressionMethod, ZipArchive};

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

type Read1<T> = std::result::Result<T, String>;

fn read(bytes: &[u8]) -> Read1<Vec<PickledTensor>> {
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
        let size = tensor.dtype.bitsize() / 8;
        let start = storage.start + tensor.offset * size;
        let contiguous = contiguous(&tensor.shape);
        let last: usize =
            tensor.shape.iter().zip(&tensor.strides).map(|(n, s)| n.saturating_sub(1) * s).sum();
        let count: usize = tensor.shape.iter().product();
        let end = if count == 0 { start } else { start + (last + 1) * size };
        if end > storage.end {
            return Err(format!("{name} reaches beyond its storage: the file is cut off"));
        }
        let is_plain = count == 0
            || tensor
                .shape
                .iter()
                .zip(tensor.strides.iter().zip(&contiguous))
                .all(|(n, (a, b))| *n == 1 || a == b);
        tensors.push(PickledTensor {
            name: name.clone(),
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            strides: (!is_plain).then(|| tensor.strides.clone()),
            bytes: start..end,
        });
    }
    Ok(tensors)
}

fn contiguous(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

type Storages = HashMap<String, Range<usize>>;

/// The format since torch 1.6: NAME/data.pkl, and NAME/data/KEY for each storage, not compressed.
fn archive(bytes: &[u8]) -> Read1<(Object, Storages)> {
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
            storages.insert(key.to_owned(), start..start + file.size() as usize);
        }
    }
    let program = program.ok_or("the archive has no data.pkl")?;
    Ok((Machine::new(&program).run()?, storages))
}

/// The number that files of before torch 1.6 begin with.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The format of before. The magic number, the version, the machine, the object and the keys of the storages come
/// first, each a pickle. For each key the number of elements and the elements follow.
fn legacy(bytes: &[u8]) -> Read1<(Object, Storages)> {
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

/// What a pickle makes.
#[derive(Clone)]
enum Object {
    Mark,
    Nothing,
    Bool,
    Int(i64),
    /// More bytes than an i64 has, little-endian.
    Long(Vec<u8>),
    Number,
    Text(String),
    Bytes,
    Tuple(Vec<Object>),
    List(Rc<RefCell<Vec<Object>>>),
    Dict(Rc<RefCell<Vec<(Object, Object)>>>),
    Function(Function),
    StorageType(Dtype),
    Storage {
        dtype: Dtype,
        key: String,
    },
    Tensor(Tensor),
}

/// A function of torch that may be named.
#[derive(Clone, Copy, PartialEq)]
enum Function {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
}

#[derive(Clone)]
struct Tensor {
    dtype: Dtype,
    storage: String,
    /// In elements.
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl Object {
    fn kind(&self) -> &'static str {
        match self {
            Object::Mark => "a mark",
            Object::Nothing => "None",
            Object::Bool => "a truth value",
            Object::Int(_) | Object::Long(_) | Object::Number => "a number",
            Object::Text(_) => "a text",
            Object::Bytes => "bytes",
            Object::Tuple(_) => "a tuple",
            Object::List(_) => "a list",
            Object::Dict(_) => "a dictionary",
            Object::Function(_) | Object::StorageType(_) => "a function",
            Object::Storage { .. } => "a storage",
            Object::Tensor(_) => "a tensor",
        }
    }

    fn sizes(&self) -> Option<Vec<usize>> {
        let Object::Tuple(items) = self else { return None };
        items
            .iter()
            .map(|item| if let Object::Int(n) = item { usize::try_from(*n).ok() } else { None })
            .collect()
    }
}

/// What a name stands for, if it may be used.
fn global(module: &str, name: &str) -> Option<Object> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Object::Function(Function::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => {
            Object::Function(Function::RebuildTensor)
        }
        ("torch._utils", "_rebuild_parameter") => Object::Function(Function::RebuildParameter),
        ("torch", "Size") => Object::Function(Function::Size),
        ("torch" | "torch.storage" | "torch.cuda", storage) => Object::StorageType(match storage {
            "FloatStorage" => Dtype::F32,
            "DoubleStorage" => Dtype::F64,
            "HalfStorage" => Dtype::F16,
            "BFloat16Storage" => Dtype::BF16,
            "LongStorage" => Dtype::I64,
            "IntStorage" => Dtype::I32,
            "ShortStorage" => Dtype::I16,
            "CharStorage" => Dtype::I8,
            "ByteStorage" => Dtype::U8,
            "BoolStorage" => Dtype::BOOL,
            _ => return None,
        }),
        _ => return None,
    })
}

/// Reads a pickle: protocols 0 to 5, as far as torch writes them.
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Object>,
    memo: BTreeMap<usize, Object>,
    /// Bytes of an element of each storage that was named.
    sizes: HashMap<String, usize>,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Machine<'a> {
        Machine { bytes, at: 0, stack: Vec::new(), memo: BTreeMap::new(), sizes: HashMap::new() }
    }

    fn take(&mut self, count: usize) -> Read1<&'a [u8]> {
        let end =
            self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or("the file is cut off")?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn number(&mut self, count: usize) -> Read1<usize> {
        Ok(self.take(count)?.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn line(&mut self) -> Read1<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("the file is cut off")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a name is not UTF-8".to_owned())
    }

    fn text(&mut self, count: usize) -> Read1<Object> {
        let bytes = self.take(count)?;
        Ok(Object::Text(std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?.to_owned()))
    }

    fn pop(&mut self) -> Read1<Object> {
        self.stack.pop().ok_or_else(|| "the pickle takes from an empty stack".to_owned())
    }

    /// All since the last mark, which goes.
    fn since_mark(&mut self) -> Read1<Vec<Object>> {
        let mark = self.stack.iter().rposition(|object| matches!(object, Object::Mark));
        let mark = mark.ok_or("the pickle has no mark")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn tuple(&mut self, count: usize) -> Read1<()> {
        let first = self.stack.len().checked_sub(count).ok_or("the pickle takes from an empty stack")?;
        let items = self.stack.split_off(first);
        self.stack.push(Object::Tuple(items));
        Ok(())
    }

    fn remember(&mut self, place: usize) -> Read1<()> {
        let object = self.stack.last().ok_or("the pickle remembers nothing")?.clone();
        self.memo.insert(place, object);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Read1<()> {
        let object = self.memo.get(&place).ok_or("the pickle recalls what it did not remember")?.clone();
        self.stack.push(object);
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Read1<()> {
        let object = global(module, name).ok_or_else(|| format!("it names {module}.{name}"))?;
        self.stack.push(object);
        Ok(())
    }

    /// Runs to the end of one pickle.
    fn run(&mut self) -> Read1<Object> {
        self.stack.clear();
        self.memo.clear();
        loop {
            let code = self.take(1)?[0];
            match code {
                b'.' => return self.pop(),
                0x80 => _ = self.take(1)?,
                0x95 => _ = self.take(8)?,
                b'(' => self.stack.push(Object::Mark),
                b'0' => _ = self.pop()?,
                b'1' => _ = self.since_mark()?,
                b'2' => {
                    let object = self.stack.last().ok_or("the pickle takes from an empty stack")?.clone();
                    self.stack.push(object);
                }
                b'N' => self.stack.push(Object::Nothing),
                0x88 | 0x89 => self.stack.push(Object::Bool),
                b'K' => {
                    let number = self.number(1)?;
                    self.stack.push(Object::Int(number as i64));
                }
                b'M' => {
                    let number = self.number(2)?;
                    self.stack.push(Object::Int(number as i64));
                }
                b'J' => {
                    let number = self.number(4)? as u32 as i32;
                    self.stack.push(Object::Int(i64::from(number)));
                }
                0x8a => {
                    let count = self.number(1)?;
                    let bytes = self.take(count)?;
                    self.stack.push(long(bytes));
                }
                b'I' | b'L' => {
                    let line = self.line()?;
                    self.stack.push(match line {
                        "00" | "01" => Object::Bool,
                        line => {
                            Object::Int(line.trim_end_matches('L').parse().map_err(|_| "a number is none")?)
                        }
                    });
                }
                b'F' => {
                    self.line()?;
                    self.stack.push(Object::Number);
                }
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Object::Number);
                }
                b'X' | b'T' => {
                    let count = self.number(4)?;
                    let text = self.text(count)?;
                    self.stack.push(text);
                }
                0x8c | b'U' => {
                    let count = self.number(1)?;
                    let text = self.text(count)?;
                    self.stack.push(text);
                }
                0x8d => {
                    let count = self.number(8)?;
                    let text = self.text(count)?;
                    self.stack.push(text);
                }
                b'V' => {
                    let text = self.line()?.to_owned();
                    self.stack.push(Object::Text(text));
                }
                b'B' => {
                    let count = self.number(4)?;
                    self.take(count)?;
                    self.stack.push(Object::Bytes);
                }
                b'C' => {
                    let count = self.number(1)?;
                    self.take(count)?;
                    self.stack.push(Object::Bytes);
                }
                b')' => self.stack.push(Object::Tuple(Vec::new())),
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let items = self.since_mark()?;
                    self.stack.push(Object::Tuple(items));
                }
                b']' => self.stack.push(Object::List(Rc::default())),
                b'l' => {
                    let items = self.since_mark()?;
                    self.stack.push(Object::List(Rc::new(RefCell::new(items))));
                }
                b'}' => self.stack.push(Object::Dict(Rc::default())),
                b'd' => {
                    let items = self.since_mark()?;
                    self.stack.push(Object::Dict(Rc::new(RefCell::new(pairs(items)))));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(vec![(key, value)])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set(pairs(items))?;
                }
                b'q' => {
                    let place = self.number(1)?;
                    self.remember(place)?;
                }
                b'r' => {
                    let place = self.number(4)?;
                    self.remember(place)?;
                }
                b'p' => {
                    let place = self.line()?.parse().map_err(|_| "a place is no number")?;
                    self.remember(place)?;
                }
                0x94 => self.remember(self.memo.len())?,
                b'h' => {
                    let place = self.number(1)?;
                    self.recall(place)?;
                }
                b'j' => {
                    let place = self.number(4)?;
                    self.recall(place)?;
                }
                b'g' => {
                    let place = self.line()?.parse().map_err(|_| "a place is no number")?;
                    self.recall(place)?;
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.name(module, name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Object::Text(module), Object::Text(name)) = (module, name) else {
                        return Err("a name is no text".to_owned());
                    };
                    self.name(&module, &name)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.stack.push(storage);
                }
                b'R' => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    self.stack.push(call(function, arguments)?);
                }
                // The attributes of an object, such as the versions of modules: no tensor is among them.
                b'b' => _ = self.pop()?,
                other => return Err(format!("it has the instruction {other:#04x}")),
            }
        }
    }

    fn append(&mut self, items: Vec<Object>) -> Read1<()> {
        match self.stack.last() {
            Some(Object::List(list)) => {
                list.borrow_mut().extend(items);
                Ok(())
            }
            _ => Err("the pickle appends to what is no list".to_owned()),
        }
    }

    fn set(&mut self, items: Vec<(Object, Object)>) -> Read1<()> {
        match self.stack.last() {
            Some(Object::Dict(entries)) => {
                entries.borrow_mut().extend(items);
                Ok(())
            }
            _ => Err("the pickle sets entries of what is no dictionary".to_owned()),
        }
    }

    /// ("storage", type, key, device, number of elements)
    fn storage(&mut self, id: Object) -> Read1<Object> {
        let Object::Tuple(parts) = id else { return Err("a storage is named in an unknown way".to_owned()) };
        match &parts[..] {
            [Object::Text(kind), Object::StorageType(dtype), Object::Text(key), ..] if kind == "storage" => {
                self.sizes.insert(key.clone(), dtype.bitsize() / 8);
                Ok(Object::Storage { dtype: *dtype, key: key.clone() })
            }
            _ => Err("a storage is named in an unknown way".to_owned()),
        }
    }
}

fn long(bytes: &[u8]) -> Object {
    if bytes.len() > 8 {
        return Object::Long(bytes.to_vec());
    }
    let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut whole = [fill; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Object::Int(i64::from_le_bytes(whole))
}

fn pairs(items: Vec<Object>) -> Vec<(Object, Object)> {
    let mut pairs = Vec::with_capacity(items.len() / 2);
    let mut items = items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        pairs.push((key, value));
    }
    pairs
}

/// What one of the few functions gives.
fn call(function: Object, arguments: Object) -> Read1<Object> {
    let (Object::Function(function), Object::Tuple(arguments)) = (&function, arguments) else {
        return Err(format!("it calls {}", function.kind()));
    };
    let unknown = || "a tensor is put together in an unknown way".to_owned();
    match function {
        Function::OrderedDict => {
            let entries = match arguments.first() {
                Some(Object::List(items)) => {
                    let items = items.borrow();
                    let pair = |item: &Object| match item {
                        Object::Tuple(pair) => Some((pair.first()?.clone(), pair.get(1)?.clone())),
                        Object::List(pair) => {
                            let pair = pair.borrow();
                            Some((pair.first()?.clone(), pair.get(1)?.clone()))
                        }
                        _ => None,
                    };
                    items.iter().filter_map(pair).collect()
                }
                _ => Vec::new(),
            };
            Ok(Object::Dict(Rc::new(RefCell::new(entries))))
        }
        Function::Size => arguments.into_iter().next().ok_or_else(unknown),
        Function::RebuildParameter => arguments.into_iter().next().ok_or_else(unknown),
        Function::RebuildTensor => match &arguments[..] {
            [Object::Storage { dtype, key }, Object::Int(offset), shape, strides, ..] => {
                let (shape, strides) =
                    (shape.sizes().ok_or_else(unknown)?, strides.sizes().ok_or_else(unknown)?);
                let offset = usize::try_from(*offset).map_err(|_| unknown())?;
                if shape.len() != strides.len() {
                    return Err(unknown());
                }
                Ok(Object::Tensor(Tensor { dtype: *dtype, storage: key.clone(), offset, shape, strides }))
            }
            _ => Err(unknown()),
        },
    }
}
