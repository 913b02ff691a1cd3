//! `loader inspect`: what a file says about itself, and whether it can be loaded here.

use super::{
    Failure, Outcome, read,
    screen::{self, Tone, paint, section},
};
use clap::Args;
use loader::{Error, ErrorKind, Stage};
use loader_core::{Image, Source};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, sync::Arc};

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The file: ELF or PE, for any machine
    file: PathBuf,
}

impl Inspect {
    pub(super) fn run(self, json: bool) -> Outcome<ExitCode> {
        let source = Arc::new(Source::owned(read(&self.file)?));
        let image = loader::parse(&source);
        let refused = |kind| Failure::Refused(Error::new(&self.file.to_string_lossy(), Stage::Parse, kind));
        match source.bytes() {
            [0x7f, b'E', b'L', b'F', ..] => {
                let file = loader_elf::inspect::inspect(source.bytes()).map_err(refused)?;
                if json { screen::object(&elf_object(&file, &image))? } else { elf(&file, &image)? }
            }
            [b'M', b'Z', ..] => {
                let file = loader_pe::inspect::inspect(source.bytes()).map_err(refused)?;
                if json { screen::object(&pe_object(&file, &image))? } else { pe(&file, &image)? }
            }
            _ => {
                let what = image.err().unwrap_or(ErrorKind::NotALoadfile { found: "neither ELF nor PE" });
                return Err(refused(what));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

type Parsed = Result<Arc<dyn Image>, ErrorKind>;

/// A word and what it stands for.
fn fact(word: &str, text: impl std::fmt::Display) -> Outcome {
    Ok(screen::line(format_args!("{word:<11} {text}"))?)
}

fn facts(word: &str, all: &[String]) -> Outcome {
    if all.is_empty() { Ok(()) } else { fact(word, all.join(", ")) }
}

fn verdict(image: &Parsed) -> Outcome {
    match image {
        Ok(_) => fact("loadable", paint(Tone::Good, "yes")),
        Err(kind) => fact("loadable", format_args!("{}: {kind}", paint(Tone::Bad, "no"))),
    }
}

/// The pages as they will be once the image runs.
fn pages(image: &Parsed) -> Outcome {
    let plan = image.as_ref().ok().map(|i| i.plan());
    let runs = plan.into_iter().flat_map(|p| p.rights());
    let line = |(at, rights): &(std::ops::Range<loader_core::Rva>, loader_core::Rights)| {
        format!("{rights}  {:#9x}  {:#9x} bytes", at.start.0, at.end.0 - at.start.0)
    };
    Ok(section("pages, as they are while its code runs", runs.map(line))?)
}

fn counts<K: std::fmt::Display, N: std::fmt::Display>(counts: &BTreeMap<K, N>) -> Outcome {
    Ok(section("relocations", counts.iter().map(|(kind, n)| format!("{n:>8}  {kind}")))?)
}

fn elf(file: &loader_elf::inspect::Inspection, image: &Parsed) -> Outcome {
    fact("format", "ELF")?;
    verdict(image)?;
    file.own_name.iter().try_for_each(|n| fact("own name", n))?;
    file.interpreter.iter().try_for_each(|n| fact("interpreter", n))?;
    file.build_id.iter().try_for_each(|n| fact("build id", n))?;
    facts("needs", &file.needs)?;
    facts("search path", &file.paths)?;
    for s in file.segments.iter().filter(|s| s.kind == "PT_TLS") {
        fact(
            "TLS",
            format_args!(
                "{} bytes a thread, {} of them initialised, alignment {}",
                s.memory, s.file, s.align
            ),
        )?;
    }
    section("entry points", entries(file).into_iter().map(|(what, at)| format!("{at:#9x}  {what}")))?;
    let segment = |s: &loader_elf::inspect::Segment| {
        format!(
            "{}  {:#9x}  {:#9x} bytes, {:#9x} of the file from {:#9x}  {}",
            s.rights, s.address, s.memory, s.file, s.offset, s.kind
        )
    };
    section("segments", file.segments.iter().map(segment))?;
    pages(image)?;
    let named = file.sections.iter().filter(|s| !s.name.is_empty());
    section("sections", named.map(|s| format!("{:#9x}  {:#9x} bytes  {}", s.address, s.size, s.name)))?;
    counts(&file.relocations)?;
    section(format_args!("imports: {}", file.imports.len()), file.imports.iter().map(import))?;
    let export = |s: &loader_elf::inspect::Symbol| {
        format!("{:#9x}  {:<7} {:<6}  {}", s.value, s.kind, s.binding, versioned(s))
    };
    Ok(section(format_args!("exports: {}", file.exports.len()), file.exports.iter().map(export))?)
}

/// What an ELF file has called, and where that is, or where the list of it is.
fn entries(file: &loader_elf::inspect::Inspection) -> Vec<(String, u64)> {
    let value = |tag: &str| file.dynamic.iter().find(|(t, _)| t == tag).map(|&(_, v)| v);
    let mut entries = Vec::new();
    for (tag, size) in [
        ("DT_INIT", ""),
        ("DT_INIT_ARRAY", "DT_INIT_ARRAYSZ"),
        ("DT_FINI_ARRAY", "DT_FINI_ARRAYSZ"),
        ("DT_FINI", ""),
    ] {
        let count = value(size).map_or(String::new(), |bytes| format!(", {} entries", bytes / 8));
        entries.extend(value(tag).map(|at| (format!("{tag}{count}"), at)));
    }
    entries
}

fn import(s: &loader_elf::inspect::Symbol) -> String {
    let from = s.from.as_ref().map_or(String::new(), |from| format!(" of {from}"));
    format!("{:<7} {:<6}  {}{from}", s.kind, s.binding, versioned(s))
}

/// A symbol as the linker's tools write it: `name@@V2` where `V2` is the default.
fn versioned(s: &loader_elf::inspect::Symbol) -> String {
    match &s.version {
        Some(version) if s.hidden || s.from.is_some() => format!("{}@{version}", s.name),
        Some(version) => format!("{}@@{version}", s.name),
        None => s.name.clone(),
    }
}

fn pe(file: &loader_pe::inspect::Inspection, image: &Parsed) -> Outcome {
    fact(
        "format",
        format_args!(
            "PE, {}, {} bits, {}",
            file.machine_name,
            file.bits,
            if file.is_dll { "library" } else { "program" }
        ),
    )?;
    verdict(image)?;
    fact("image", format_args!("{:#x} bytes, linked for {:#x}", file.image_len, file.image_base))?;
    let flags: Vec<String> = file.flags.iter().map(|&f| f.into()).collect();
    facts("flags", &flags)?;
    let needs: Vec<String> = file.imports.iter().map(|l| l.name.clone()).collect();
    facts("needs", &needs)?;
    let delayed: Vec<String> = file.delayed.iter().map(|l| l.name.clone()).collect();
    facts("needs later", &delayed)?;
    if let Some(tls) = &file.tls {
        let callbacks = if tls.has_callbacks { ", and callbacks" } else { "" };
        fact(
            "TLS",
            format_args!("{} initialised and {} zero bytes a thread{callbacks}", tls.init, tls.zeros),
        )?;
    }
    fact("unwinding", format_args!("{} functions", file.functions))?;
    fact("cookie", if file.has_cookie { "yes" } else { "no" })?;
    let entry = (file.entry != 0)
        .then(|| format!("{:#9x}  DllMain, or what the C runtime puts around it", file.entry));
    section("entry points", entry)?;
    let part = |s: &loader_pe::inspect::Section| {
        format!(
            "{}  {:#9x}  {:#9x} bytes, {:#9x} of the file from {:#9x}  {}",
            s.rights, s.at, s.len, s.file_len, s.file_at, s.name
        )
    };
    section("sections", file.sections.iter().map(part))?;
    pages(image)?;
    counts(&file.relocations)?;
    for (word, libraries) in [("imports", &file.imports), ("later imports", &file.delayed)] {
        for l in libraries {
            section(format_args!("{word} from {}: {}", l.name, l.symbols.len()), l.symbols.iter().cloned())?;
        }
    }
    let export = |e: &loader_pe::inspect::Exported| {
        let name = e.name.as_deref().unwrap_or("");
        match &e.forward {
            Some(to) => format!("{:>9}  #{:<5} {name} -> {to}", "", e.ordinal),
            None => format!("{:#9x}  #{:<5} {name}", e.at, e.ordinal),
        }
    };
    Ok(section(format_args!("exports: {}", file.exports.len()), file.exports.iter().map(export))?)
}

/// What both formats have in common.
fn object(format: &str, image: &Parsed) -> Value {
    let plan = image.as_ref().ok().map(|i| i.plan());
    let pages: Vec<Value> = plan
        .into_iter()
        .flat_map(|p| p.rights())
        .map(|(at, rights)| json!({ "at": at.start.0, "len": at.end.0 - at.start.0, "rights": rights.to_string() }))
        .collect();
    let refused = image.as_ref().err().map(ToString::to_string);
    json!({ "format": format, "loadable": image.is_ok(), "refused": refused, "pages": pages })
}

fn elf_object(file: &loader_elf::inspect::Inspection, image: &Parsed) -> Value {
    let mut object = object("ELF", image);
    let symbol = |s: &loader_elf::inspect::Symbol| {
        json!({
            "name": s.name, "version": s.version, "hidden": s.hidden, "from": s.from,
            "kind": s.kind, "binding": s.binding, "value": s.value, "size": s.size,
        })
    };
    let segment = |s: &loader_elf::inspect::Segment| {
        json!({
            "kind": s.kind, "rights": s.rights, "address": s.address, "memory": s.memory,
            "offset": s.offset, "file": s.file, "align": s.align,
        })
    };
    let tls = file.segments.iter().find(|s| s.kind == "PT_TLS");
    object["own_name"] = json!(file.own_name);
    object["interpreter"] = json!(file.interpreter);
    object["build_id"] = json!(file.build_id);
    object["needs"] = json!(file.needs);
    object["search_path"] = json!(file.paths);
    object["tls"] =
        tls.map_or(Value::Null, |s| json!({ "init": s.file, "size": s.memory, "align": s.align }));
    object["entry_points"] =
        entries(file).into_iter().map(|(what, at)| json!({ "what": what, "at": at })).collect();
    object["segments"] = file.segments.iter().map(segment).collect();
    object["sections"] = file
        .sections
        .iter()
        .map(|s| json!({ "name": s.name, "address": s.address, "offset": s.offset, "size": s.size }))
        .collect();
    object["relocations"] = json!(file.relocations);
    object["imports"] = file.imports.iter().map(symbol).collect();
    object["exports"] = file.exports.iter().map(symbol).collect();
    object
}

fn pe_object(file: &loader_pe::inspect::Inspection, image: &Parsed) -> Value {
    let mut object = object("PE", image);
    let library = |l: &loader_pe::inspect::Library| json!({ "name": l.name, "symbols": l.symbols });
    let part = |s: &loader_pe::inspect::Section| {
        json!({
            "name": s.name, "at": s.at, "len": s.len, "file_at": s.file_at, "file_len": s.file_len,
            "rights": s.rights.to_string(),
        })
    };
    let export = |e: &loader_pe::inspect::Exported| json!({ "ordinal": e.ordinal, "name": e.name, "at": e.at, "forward": e.forward });
    let tls = |t: loader_pe::inspect::Tls| json!({ "init": t.init, "zeros": t.zeros, "callbacks": t.has_callbacks });
    object["machine"] = json!({ "number": file.machine, "name": file.machine_name, "bits": file.bits });
    object["library"] = file.is_dll.into();
    object["image"] = json!({ "base": file.image_base, "len": file.image_len });
    object["entry"] = (file.entry != 0).then_some(file.entry).into();
    object["subsystem"] = file.subsystem.into();
    object["flags"] = json!(file.flags);
    object["sections"] = file.sections.iter().map(part).collect();
    object["relocations"] = json!(file.relocations);
    object["tls"] = file.tls.map_or(Value::Null, tls);
    object["functions"] = file.functions.into();
    object["cookie"] = file.has_cookie.into();
    object["imports"] = file.imports.iter().map(library).collect();
    object["delayed"] = file.delayed.iter().map(library).collect();
    object["exports"] = file.exports.iter().map(export).collect();
    object
}
