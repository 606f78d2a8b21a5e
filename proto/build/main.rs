//! `rapport/v1/*.proto` -> the prost structs, and from our own options, for each message the code that reads and
//! writes its JSON, and for each event type its entry in the catalogue. Nothing is written by hand for one type.

mod catalogue;
mod json;
mod model;

use model::Model;
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=rapport");
    println!("cargo::rerun-if-changed=build");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(["rapport/v1/interaction.proto", "rapport/v1/log.proto"])?;
    // Options are read from the pool: the options of prost_types drop extensions.
    let model = Model::read(&compiler.descriptor_pool())?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("json.gen.rs"), json::generate(&model))?;
    std::fs::write(out.join("catalogue.gen.rs"), catalogue::generate(&model)?)?;
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let mut files = compiler.file_descriptor_set();
    // The options are for this build alone: no Rust is needed for them.
    files.file.retain(|f| f.package() == "rapport.v1" && !f.name().ends_with("/options.proto"));
    for file in &mut files.file {
        file.dependency.retain(|d| !d.ends_with("/options.proto"));
    }
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
