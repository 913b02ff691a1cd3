//! Opens and closes the roots of one case over and over, and looks whether anything grows.

use crate::{process, subject::Subject, voice::Voice};
use corpus::{Action, Case};
use std::{collections::HashMap, io};

/// Times through a case before anything is measured: whatever is made once and kept has been made by then.
const WARM: usize = 20;
/// Times through it that are measured.
const TIMES: usize = 200;
/// Bytes by which two looks may differ, the first one's result among them. The smallest block that the allocator gives,
/// lost each time, is more than twice that. (Exact only if it keeps no cache for each thread: see [`cores::child`].)
///
/// [`cores::child`]: crate::cores::child
const SLACK: usize = 2 << 10;

/// Opens and closes as the case's script says, without calling anything in between.
///
/// # Errors
/// What did not go as the script says, or what grew.
pub fn run<S: Subject>(case: &Case) -> Result<(), String> {
    let text = |e: io::Error| e.to_string();
    let mut voice = Voice::listen().map_err(text)?;
    let subject = S::new(case)?;
    let mut times = |n: usize| {
        (0..n).try_for_each(|_| {
            once(&subject, case)?;
            voice.said().map(drop).map_err(text)
        })
    };
    let measure = || Ok((process::mapped()?, process::descriptors()?, process::allocated()));
    times(WARM)?;
    let (mapped, descriptors, allocated) = measure().map_err(text)?;
    times(TIMES)?;
    let now = measure().map_err(text)?;
    let grown = process::difference(&mapped, &now.0);
    if !grown.is_empty() {
        return Err(format!("the mappings changed in {TIMES} times:{grown}"));
    }
    if now.1 != descriptors {
        return Err(format!("{descriptors} descriptors were open, and {} are after {TIMES} times", now.1));
    }
    if now.2 > allocated + SLACK {
        return Err(format!("{} bytes of memory are lost in {TIMES} times", now.2 - allocated));
    }
    Ok(())
}

fn once<S: Subject>(subject: &S, case: &Case) -> Result<(), String> {
    let mut roots = HashMap::new();
    for step in &case.script {
        match &step.action {
            Action::Open(open) => match (subject.open(open), &open.refusal) {
                (Ok(root), None) => drop(roots.insert(&open.name, root)),
                (Err(_), Some(_)) => {}
                (Ok(_), Some(_)) => return Err(format!("{} was opened", open.file)),
                (Err(refused), None) => return Err(refused.sentence),
            },
            Action::Close(name) => {
                let root = roots.remove(name).ok_or_else(|| format!("{name} is not open"))?;
                subject.close(root)?;
            }
            _ => {}
        }
    }
    Ok(())
}
