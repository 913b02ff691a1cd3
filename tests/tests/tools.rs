//! What a load set tells tools outside the process, and when.

use tests::toy::Toy;

const TOLD: [&str; 5] = ["shown", "starts", "ends", "hidden", "unmapped"];

#[test]
fn tools_are_told_before_initialisers_run_and_before_memory_goes() {
    let toy = Toy::viewed(&[("r", "need d"), ("d", "")]);
    let r = toy.open("r").unwrap();
    assert_eq!(toy.log_of(&TOLD), ["shown r", "shown d", "starts d", "starts r"]);
    let again = toy.open("r").unwrap();
    toy.close(again);
    assert_eq!(toy.log_of(&TOLD), [""; 0], "nothing came and nothing went");
    toy.close(r);
    let gone = ["ends r", "ends d", "hidden r", "hidden d", "unmapped r", "unmapped d"];
    assert_eq!(toy.log_of(&TOLD), gone);
}

#[test]
fn tools_hear_of_refused_modules_only_if_their_code_may_have_run() {
    let toy = Toy::viewed(&[("u", "import nobody_has_this"), ("r", "need d; refuses"), ("d", "")]);
    toy.open("u").unwrap_err();
    assert_eq!(toy.log_of(&TOLD), [""; 0]);
    toy.open("r").unwrap_err();
    let log = toy.log_of(&["shown", "hidden"]);
    assert_eq!(log.iter().filter(|l| l.starts_with("shown")).count(), 2, "{log:?}");
    assert_eq!(log.iter().filter(|l| l.starts_with("hidden")).count(), 2, "{log:?}");
}

#[test]
fn nothing_goes_while_it_is_looked_at() {
    let toy = Toy::viewed(&[("r", "need d"), ("d", "")]);
    let r = toy.open("r").unwrap();
    let _ = toy.log();
    toy.set.look(|modules| {
        let mut names: Vec<&str> = modules.iter().map(|m| m.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["d", "r"]);
        assert_eq!(toy.close(r), [], "not while somebody looks");
    });
    assert_eq!((toy.loaded(), toy.in_memory()), (vec![], 0), "but right after");
    assert_eq!(toy.log_of(&["hidden"]), ["hidden r", "hidden d"]);
}
