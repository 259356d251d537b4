//! The stack machine that a pickle is a program for.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::Unpickled;
use super::object::{Object, call, global};

/// Reads a pickle: protocols 0 to 5, as far as torch writes them.
pub(super) struct Machine<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
    stack: Vec<Object>,
    memo: BTreeMap<usize, Object>,
    /// Bytes of an element of each storage that was named.
    pub(super) sizes: HashMap<String, usize>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Machine<'a> {
        Machine { bytes, at: 0, stack: Vec::new(), memo: BTreeMap::new(), sizes: HashMap::new() }
    }

    fn take(&mut self, count: usize) -> Unpickled<&'a [u8]> {
        let end =
            self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or("the file is cut off")?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn number(&mut self, count: usize) -> Unpickled<usize> {
        Ok(self.take(count)?.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn line(&mut self) -> Unpickled<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("the file is cut off")?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| "a name is not UTF-8".to_owned())
    }

    fn text(&mut self, count: usize) -> Unpickled<Object> {
        let bytes = self.take(count)?;
        Ok(Object::Text(std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?.to_owned()))
    }

    fn pop(&mut self) -> Unpickled<Object> {
        self.stack.pop().ok_or_else(|| "the pickle takes from an empty stack".to_owned())
    }

    /// All since the last mark, which goes.
    fn since_mark(&mut self) -> Unpickled<Vec<Object>> {
        let mark = self.stack.iter().rposition(|object| matches!(object, Object::Mark));
        let mark = mark.ok_or("the pickle has no mark")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn tuple(&mut self, count: usize) -> Unpickled<()> {
        let first = self.stack.len().checked_sub(count).ok_or("the pickle takes from an empty stack")?;
        let items = self.stack.split_off(first);
        self.stack.push(Object::Tuple(items));
        Ok(())
    }

    fn remember(&mut self, place: usize) -> Unpickled<()> {
        let object = self.stack.last().ok_or("the pickle remembers nothing")?.clone();
        self.memo.insert(place, object);
        Ok(())
    }

    fn recall(&mut self, place: usize) -> Unpickled<()> {
        let object = self.memo.get(&place).ok_or("the pickle recalls what it did not remember")?.clone();
        self.stack.push(object);
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Unpickled<()> {
        let object = global(module, name).ok_or_else(|| format!("it names {module}.{name}"))?;
        self.stack.push(object);
        Ok(())
    }

    /// Runs to the end of one pickle.
    pub(super) fn run(&mut self) -> Unpickled<Object> {
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

    fn append(&mut self, items: Vec<Object>) -> Unpickled<()> {
        match self.stack.last() {
            Some(Object::List(list)) => {
                list.borrow_mut().extend(items);
                Ok(())
            }
            _ => Err("the pickle appends to what is no list".to_owned()),
        }
    }

    fn set(&mut self, items: Vec<(Object, Object)>) -> Unpickled<()> {
        match self.stack.last() {
            Some(Object::Dict(entries)) => {
                entries.borrow_mut().extend(items);
                Ok(())
            }
            _ => Err("the pickle sets entries of what is no dictionary".to_owned()),
        }
    }

    /// ("storage", type, key, device, number of elements)
    fn storage(&mut self, id: Object) -> Unpickled<Object> {
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
