//! What a pickle may make, and the few functions that it may name.

use std::cell::RefCell;
use std::rc::Rc;

use safetensors::Dtype;

use super::Unpickled;

/// What a pickle makes.
#[derive(Clone)]
pub(super) enum Object {
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
pub(super) enum Function {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
}

#[derive(Clone)]
pub(super) struct Tensor {
    pub(super) dtype: Dtype,
    pub(super) storage: String,
    /// In elements.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl Object {
    pub(super) fn kind(&self) -> &'static str {
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
pub(super) fn global(module: &str, name: &str) -> Option<Object> {
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

/// What one of the few functions gives.
pub(super) fn call(function: Object, arguments: Object) -> Unpickled<Object> {
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
