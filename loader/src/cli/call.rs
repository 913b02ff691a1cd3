//! `loader call`: one function of one library.

use super::{
    Failure, Loading, Outcome, log, name_of, read, screen, seconds, symbol,
    value::{Argument, Type, Value},
};
use clap::Args;
use loader::{
    Addr, SymbolName,
    sandbox::{self, Loaded, Output, Sandbox},
};
use loader_core::event::Topics;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
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
    /// How many seconds it may take to load it, and how many the call
    #[arg(long, value_name = "S", value_parser = seconds)]
    time: Option<Duration>,
    /// How many MiB of memory its code may take
    #[arg(long, value_name = "MIB")]
    max_memory: Option<u64>,
    /// Let its code have no files but the system's libraries and the file itself, no network, and no other processes
    #[arg(long)]
    confine: bool,
    #[command(flatten)]
    loading: Loading,
}

/// What a call came to.
struct Answer {
    value: Value,
    /// What the `out:` arguments received, with their positions, counted from 1.
    out: Vec<(usize, Value)>,
    /// The library that has the function.
    of: Box<str>,
}

/// How much of a text is shown.
const TEXT: usize = 1 << 20;

impl Call {
    pub(super) fn run(self, json: bool) -> Outcome<ExitCode> {
        let mut sandbox = self.sandbox()?;
        let answer = self
            .load(&mut sandbox)
            .and_then(|library| Ok((library, self.call(&mut sandbox, library).map_err(self.blame())?)));
        sandbox.events().iter().for_each(log::replay);
        let (library, answer) = answer?;
        self.show(&answer, json)?;
        let closed = sandbox.close(library);
        sandbox.events().iter().for_each(log::replay);
        closed.and_then(|()| sandbox.end()).map_err(self.blame())?;
        Ok(ExitCode::SUCCESS)
    }

    fn blame(&self) -> impl Fn(sandbox::Failure) -> Failure {
        |failure| Failure::of(&self.file, failure)
    }

    fn sandbox(&self) -> Outcome<Sandbox> {
        let builder = self.loading.sandbox().output(Output::Inherited);
        let builder = builder.topics(log::topics() | Topics::TROUBLE | Topics::FILES); // a report tells of these
        let builder = builder.wall(self.time.unwrap_or(Duration::MAX));
        let builder = builder.memory(self.max_memory.map_or(u64::MAX, |mebibytes| mebibytes << 20));
        // Bytes have no folder, but this is where their neighbours are.
        let builder = match self.file.parent().filter(|p| self.memory && *p != Path::new("")) {
            Some(folder) => builder.dll_path(folder),
            None => builder,
        };
        let builder = if self.confine { builder.read(name_of(&self.file)) } else { builder.unconfined() };
        builder.start().map_err(self.blame())
    }

    fn load(&self, sandbox: &mut Sandbox) -> Outcome<Loaded> {
        if !self.memory {
            return sandbox.load(name_of(&self.file)).map_err(self.blame());
        }
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        sandbox.load_bytes(&name, &read(&self.file)?).map_err(self.blame())
    }

    fn call(&self, sandbox: &mut Sandbox, library: Loaded) -> sandbox::Outcome<Answer> {
        let of = sandbox.find(library, self.symbol.clone())?.module;
        let mut cells = vec![[0; 8]; self.arguments.len()];
        let argument = |(argument, cell)| match argument {
            &Argument::Plain(arg) => sandbox::Argument::Scalar(arg),
            Argument::Text(text) => sandbox::Argument::Bytes(text.as_bytes_with_nul()),
            Argument::Out(_) => sandbox::Argument::Buffer(cell),
        };
        let arguments =
            self.arguments.iter().zip(cells.iter_mut().map(<[u8; 8]>::as_mut_slice)).map(argument);
        let returned = sandbox.call_in(library, self.symbol.clone(), arguments)?;

        let memory = sandbox.memory();
        let text = |at| {
            let text = memory.text(Addr(at), TEXT).unwrap_or_default();
            String::from_utf8_lossy(&text).into_owned()
        };
        let bits = match self.returns {
            Type::F32 | Type::F64 => returned.f64().to_bits(),
            _ => returned.u64(),
        };
        let out =
            self.arguments.iter().zip(&cells).enumerate().filter_map(
                |(n, (argument, cell))| match argument {
                    Argument::Out(kind) => Some((n + 1, Value::read(*kind, u64::from_le_bytes(*cell), text))),
                    _ => None,
                },
            );
        Ok(Answer { value: Value::read(self.returns, bits, text), out: out.collect(), of })
    }

    fn show(&self, answer: &Answer, json: bool) -> Outcome {
        if json {
            let out: serde_json::Map<_, _> =
                answer.out.iter().map(|(n, v)| (n.to_string(), v.json())).collect();
            screen::object(&json!({ "value": answer.value.json(), "out": out, "of": &*answer.of }))?;
            return Ok(());
        }
        if self.returns != Type::Void {
            screen::line(&answer.value)?;
        }
        Ok(answer.out.iter().try_for_each(|(n, value)| screen::line(format_args!("out {n}: {value}")))?)
    }
}
