//! Errors as exceptions: a class of `secateur.errors` for each kind.

use std::any::Any;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use secateur::ErrorKind;

/// The exception for an error of the library.
pub fn exception(error: &secateur::Error) -> PyErr {
    of_kind(error.kind(), secateur::error::message_with_causes(error))
}

/// The exception for what anything below the library refuses.
pub fn refused(error: impl Into<secateur::Error>) -> PyErr {
    exception(&error.into())
}

/// An argument is wrong.
pub fn usage(message: impl Into<String>) -> PyErr {
    of_kind(ErrorKind::Usage, message.into())
}

/// The exception for a panic, which is a defect of ours. PyO3's own is none that `except Exception` catches.
pub fn defect(panic: Box<dyn Any + Send>) -> PyErr {
    static DEFECT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let message = format!("a defect of secateur, please report it with what was called: {said}");
    Python::attach(|py| match DEFECT.import(py, "secateur.errors", "SecateurError") {
        Ok(class) => PyErr::from_type(class.clone(), message),
        Err(error) => error,
    })
}

/// An exception of this kind.
pub fn of_kind(kind: ErrorKind, message: String) -> PyErr {
    Python::attach(|py| match class_of(py, kind) {
        Ok(class) => PyErr::from_type(class, message),
        Err(error) => error,
    })
}

/// The kind of an exception. Those that are none of ours are the system's.
pub fn kind_of(py: Python<'_>, error: &PyErr) -> ErrorKind {
    let ours = [ErrorKind::Usage, ErrorKind::Input, ErrorKind::Database];
    let is_of = |kind: &ErrorKind| class_of(py, *kind).is_ok_and(|class| error.is_instance(py, &class));
    ours.into_iter().find(is_of).unwrap_or(ErrorKind::System)
}

fn class_of(py: Python<'_>, kind: ErrorKind) -> PyResult<Bound<'_, PyType>> {
    static SYSTEM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static USAGE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static INPUT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static DATABASE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (class, name) = match kind {
        ErrorKind::System => (&SYSTEM, "SystemFailure"),
        ErrorKind::Usage => (&USAGE, "UsageError"),
        ErrorKind::Input => (&INPUT, "InputError"),
        ErrorKind::Database => (&DATABASE, "DatabaseError"),
    };
    class.import(py, "secateur.errors", name).cloned()
}
