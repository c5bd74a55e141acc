//! The JavaScript values that answers are made of.

use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// An array of plain values.
    #[derive(Debug)]
    pub type Array;

    #[wasm_bindgen(constructor)]
    fn new() -> Array;

    #[wasm_bindgen(method)]
    pub(crate) fn push(this: &Array, value: JsValue);

    /// A copy of bytes, which lives as long as JavaScript holds it.
    #[derive(Debug)]
    pub type Uint8Array;

    #[wasm_bindgen(constructor)]
    fn new(bytes: &[u8]) -> Uint8Array;
}

/// A copy of `bytes` for JavaScript.
pub(crate) fn bytes(bytes: &[u8]) -> JsValue {
    Uint8Array::new(bytes).into()
}

/// An array of these values.
pub(crate) fn array(values: impl IntoIterator<Item = JsValue>) -> Array {
    let array = Array::new();
    for value in values {
        array.push(value);
    }
    array
}
