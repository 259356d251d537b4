//! Rows of a matrix as they are stored: components of 32 bits, or of 16.
//!
//! All computing is in f32: components of 16 bits are converted, exactly, as they are loaded. So every result equals,
//! bit for bit, the result for f32 rows with the rounded values.

use std::borrow::Cow;

use bytemuck::{Pod, Zeroable};
use secateur_files::UnknownName;

/// The type of the components of stored vectors. Queries are always f32.
///
/// ```
/// use secateur_index::ComponentType;
/// assert_eq!("bf16".parse(), Ok(ComponentType::Bf16));
/// assert_eq!(ComponentType::default().to_string(), "f32");
/// ```
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::Display,
    strum::VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum ComponentType {
    /// IEEE 754 binary32: vectors are stored as they are given.
    #[default]
    F32,
    /// IEEE 754 binary16: 11 significant bits, up to 65,504. Vectors are rounded to the nearest, ties to even.
    F16,
    /// The upper half of an f32: 8 significant bits and its whole range. Vectors are rounded to the nearest, ties to
    /// even.
    Bf16,
}

fn unknown(name: &str) -> UnknownName {
    UnknownName::of::<ComponentType>("a type of components", name)
}

impl ComponentType {
    /// Every type, in the order of declaration.
    pub const ALL: &[ComponentType] = <ComponentType as strum::VariantArray>::VARIANTS;

    /// The name used in files, on the command line and by [`Display`](std::fmt::Display): `f32`, `f16` or `bf16`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The largest component.
    pub fn max(self) -> f32 {
        match self {
            ComponentType::F32 => f32::MAX,
            ComponentType::F16 => 65_504.0,
            ComponentType::Bf16 => Bf16(0x7f7f).to_f32(),
        }
    }

    /// Bytes of a component.
    pub fn size(self) -> usize {
        match self {
            ComponentType::F32 => 4,
            ComponentType::F16 | ComponentType::Bf16 => 2,
        }
    }
}

/// A component as it is stored.
pub(crate) trait Component: Pod + Send + Sync {
    fn to_f32(self) -> f32;

    /// The nearest, ties to even.
    fn nearest(x: f32) -> Self;

    /// The components of rows, none if they are of another type.
    fn of(rows: Rows<'_>) -> &[Self];
}

impl Component for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    fn nearest(x: f32) -> f32 {
        x
    }

    #[inline(always)]
    fn of(rows: Rows<'_>) -> &[f32] {
        if let Rows::F32(components) = rows { components } else { &[] }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Bf16(u16);

impl Component for Bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    fn nearest(x: f32) -> Bf16 {
        Bf16(half::bf16::from_f32(x).to_bits())
    }

    #[inline(always)]
    fn of(rows: Rows<'_>) -> &[Bf16] {
        if let Rows::Bf16(components) = rows { components } else { &[] }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct F16(u16);

impl Component for F16 {
    /// For finite numbers only; others are never stored. Unlike the function of the crate half, this one is inlined
    /// into loops and does not ask each time what the processor can do.
    #[inline(always)]
    fn to_f32(self) -> f32 {
        // The exponent of an f16 is that of the f32 less 112. Below the smallest normal f16 the exponent is one more,
        // and the leading 1 is subtracted. (A product with 2¹¹² would serve both cases, but some processors are slow
        // with operands below f32's smallest normal number.)
        let magnitude = u32::from(self.0 & 0x7fff) << 13;
        let normal = f32::from_bits(magnitude + (112 << 23));
        let smaller = f32::from_bits(magnitude + (113 << 23)) - f32::from_bits(113 << 23);
        let value = if magnitude < 1 << 23 { smaller } else { normal };
        f32::from_bits(value.to_bits() | u32::from(self.0 & 0x8000) << 16)
    }

    fn nearest(x: f32) -> F16 {
        F16(half::f16::from_f32(x).to_bits())
    }

    #[inline(always)]
    fn of(rows: Rows<'_>) -> &[F16] {
        if let Rows::F16(components) = rows { components } else { &[] }
    }
}

/// Whole rows, (N, D) row-major, or a piece of one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    F32(&'a [f32]),
    F16(&'a [F16]),
    Bf16(&'a [Bf16]),
}

impl<'a> From<&'a [f32]> for Rows<'a> {
    fn from(components: &'a [f32]) -> Rows<'a> {
        Rows::F32(components)
    }
}

/// Runs `$body` with `$slice` bound to the components.
macro_rules! with_components {
    ($rows:expr, |$slice:ident| $body:expr) => {
        match $rows {
            $crate::rows::Rows::F32($slice) => $body,
            $crate::rows::Rows::F16($slice) => $body,
            $crate::rows::Rows::Bf16($slice) => $body,
        }
    };
}
pub(crate) use with_components;

impl<'a> Rows<'a> {
    /// Components in a mapped file. The bytes begin at a multiple of 4 and hold whole components.
    pub fn from_bytes(component: ComponentType, bytes: &'a [u8]) -> Rows<'a> {
        match component {
            ComponentType::F32 => Rows::F32(bytemuck::cast_slice(bytes)),
            ComponentType::F16 => Rows::F16(bytemuck::cast_slice(bytes)),
            ComponentType::Bf16 => Rows::Bf16(bytemuck::cast_slice(bytes)),
        }
    }

    /// The number of components.
    #[inline]
    pub fn len(&self) -> usize {
        with_components!(self, |components| components.len())
    }

    /// `len` components from `at` on.
    #[inline]
    pub fn slice(self, at: usize, len: usize) -> Rows<'a> {
        match self {
            Rows::F32(components) => Rows::F32(&components[at..][..len]),
            Rows::F16(components) => Rows::F16(&components[at..][..len]),
            Rows::Bf16(components) => Rows::Bf16(&components[at..][..len]),
        }
    }

    /// Pieces of `len` components, at least 1; the last may be shorter.
    pub fn chunks(self, len: usize) -> impl ExactSizeIterator<Item = Rows<'a>> {
        let all = self.len();
        (0..all.div_ceil(len)).map(move |index| self.slice(index * len, len.min(all - index * len)))
    }

    /// A row of D components.
    #[inline]
    pub fn row(self, row: usize, dim: usize) -> Rows<'a> {
        self.slice(row * dim, dim)
    }

    /// The components as f32, converted into `buffer` if they are of another type.
    #[inline]
    pub fn as_f32<'b>(self, buffer: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Rows::F32(components) => return components,
            Rows::F16(components) => convert(components, buffer),
            Rows::Bf16(components) => convert(components, buffer),
        }
        buffer
    }

    /// [`Rows::as_f32`] with a buffer of its own.
    pub fn to_f32(self) -> Cow<'a, [f32]> {
        if let Rows::F32(components) = self {
            return Cow::Borrowed(components);
        }
        let mut buffer = Vec::new();
        self.as_f32(&mut buffer);
        Cow::Owned(buffer)
    }
}

fn convert<C: Component>(components: &[C], buffer: &mut Vec<f32>) {
    buffer.clear();
    buffer.extend(components.iter().map(|x| x.to_f32()));
}

/// Rounds `values` to the stored type, each to the nearest, appends their bytes to the emptied `bytes`, and writes
/// the rounded values back.
pub(crate) fn round(component: ComponentType, values: &mut [f32], bytes: &mut Vec<u8>) {
    fn round_to<C: Component>(values: &mut [f32], bytes: &mut Vec<u8>) {
        for value in values {
            let nearest = C::nearest(*value);
            *value = nearest.to_f32();
            bytes.extend_from_slice(bytemuck::bytes_of(&nearest));
        }
    }
    bytes.clear();
    match component {
        ComponentType::F32 => round_to::<f32>(values, bytes),
        ComponentType::F16 => round_to::<F16>(values, bytes),
        ComponentType::Bf16 => round_to::<Bf16>(values, bytes),
    }
}

#[cfg(test)]
mod tests;
