//! `loader call`: one function of one library.

use super::{
    Loading, Outcome, function, open, screen, symbol,
    value::{Argument, Type},
};
use clap::Args;
use loader::SymbolName;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Debug, Args)]
pub(super) struct Call {
    /// The library: a file, or a name that is looked for by the rules of its format
    pub(super) file: PathBuf,
    /// The function: a name, or #12 for an ordinal
    #[arg(value_parser = symbol)]
    symbol: SymbolName,
    /// Its arguments: i32:5 i64:-7 u32:1 u64:0xff f32:0.5 f64:1.5 str:hi ptr:0x10 bool:true, and out:TYPE for a
    /// pointer to eight zero bytes that are shown after the call
    #[arg(value_name = "ARG")]
    arguments: Vec<Argument>,
    /// What it returns
    #[arg(long = "ret", value_enum, default_value = "i32", value_name = "TYPE")]
    returns: Type,
    /// Read the file first and load the library from memory: nothing of the file stays open or mapped
    #[arg(long)]
    memory: bool,
    #[command(flatten)]
    loading: Loading,
}

impl Call {
    pub(super) fn run(self, json: bool) -> Outcome<ExitCode> {
        let mut builder = self.loading.builder();
        if self.memory
            && let Some(folder) = self.file.parent().filter(|p| *p != Path::new(""))
        {
            builder = builder.dll_path(folder); // bytes have no folder, but this is where their neighbours are
        }
        let engine = builder.build()?;
        let library = open(&engine, &self.file, self.memory)?;
        let answer = function::call(&library, &self.symbol, &self.arguments, self.returns)?;
        if json {
            let out: serde_json::Map<_, _> =
                answer.out.iter().map(|(n, v)| (n.to_string(), v.json())).collect();
            screen::object(&json!({ "value": answer.value.json(), "out": out, "of": &*answer.of }))?;
        } else {
            if self.returns != Type::Void {
                screen::line(&answer.value)?;
            }
            answer.out.iter().try_for_each(|(n, value)| screen::line(format_args!("out {n}: {value}")))?;
        }
        library.close()?;
        Ok(ExitCode::SUCCESS)
    }
}
