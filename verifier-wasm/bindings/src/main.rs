//! Writes the JavaScript half of a wasm module that uses wasm-bindgen, and the wasm without its descriptions.

use std::env;
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [input, name, folder] = arguments.as_slice() else {
        eprintln!("usage: attestlog-bindings INPUT.wasm NAME FOLDER");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    // Without a default path: bundlers take `new URL("x.wasm", import.meta.url)` for a file to ship.
    let written = bindgen.web(true).and_then(|bindgen| {
        bindgen.input_path(input).out_name(name).typescript(true).omit_default_module_path(true);
        bindgen.remove_name_section(true).remove_producers_section(true).generate(folder)
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("attestlog-bindings: {input}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
