//! Numbers in JSON, bit for bit.
//!
//! JSON has no infinity and no NaN, and serde_json writes both as `null`. In everything this crate serializes they are the strings
//! `"Infinity"`, `"-Infinity"` and `"NaN"`, as in protocol buffers' JSON; reading takes either. Finite numbers, -0 included, are written
//! with the digits that tell them apart from every other one. A NaN comes back as a NaN: which one is not kept. Formats that are not
//! text get the number itself.

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A number that may be infinite or NaN.
#[derive(Clone, Copy)]
pub(crate) struct Number(pub(crate) f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let x = self.0;
        if x.is_finite() || !to.is_human_readable() {
            to.serialize_f64(x)
        } else if x.is_nan() {
            to.serialize_str("NaN")
        } else if x > 0.0 {
            to.serialize_str("Infinity")
        } else {
            to.serialize_str("-Infinity")
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            from.deserialize_any(NumberVisitor)
        } else {
            f64::deserialize(from).map(Number)
        }
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"Infinity\", \"-Infinity\" or \"NaN\"")
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<Number, E> {
        Ok(Number(x))
    }

    fn visit_u64<E: Error>(self, x: u64) -> Result<Number, E> {
        Ok(Number(x as f64))
    }

    fn visit_i64<E: Error>(self, x: i64) -> Result<Number, E> {
        Ok(Number(x as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        match text {
            "Infinity" => Ok(Number(f64::INFINITY)),
            "-Infinity" => Ok(Number(f64::NEG_INFINITY)),
            "NaN" => Ok(Number(f64::NAN)),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

/// Sizes above those JSON readers take come as floating-point numbers.
pub(crate) fn size<S: Serializer>(bytes: &u128, to: S) -> Result<S::Ok, S::Error> {
    match u64::try_from(*bytes) {
        Ok(bytes) => to.serialize_u64(bytes),
        Err(_) => to.serialize_f64(*bytes as f64),
    }
}

/// For fields that are a number.
pub(crate) mod number {
    use crate::exact::Number;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(x: &f64, to: S) -> Result<S::Ok, S::Error> {
        Number(*x).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Number::deserialize(from)?.0)
    }
}

/// For fields that are a list of numbers.
pub(crate) mod numbers {
    use crate::exact::Number;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        list: &(impl AsRef<[f64]> + ?Sized),
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(list.as_ref().iter().map(|x| Number(*x)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let list = Vec::<Number>::deserialize(from)?;
        Ok(list.into_iter().map(|x| x.0).collect())
    }
}
