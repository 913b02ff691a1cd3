//! Run-time type information as MSVC lays it out: `dynamic_cast`, `typeid`, and the way to the complete object.
//!
//! Before a table of virtual functions lies the address of a *locator*. It says how far the table's pointer is from the
//! start of the complete object, and names the list of all its bases, depth first: after each base come those that it
//! contains. Types are the same where their names are.

use crate::{
    exception::{ContextRecord, walk::raise_code},
    guest::Ptr,
};

/// `_RTTICompleteObjectLocator`. Addresses in all of these are distances from the image's base.
#[repr(C)]
#[derive(Clone, Copy)]
struct Locator {
    signature: u32,
    offset: u32,
    /// Where the distance by which a constructor has moved the object lies, before the pointer to the table; 0: nowhere.
    moved: u32,
    type_descriptor: u32,
    hierarchy: u32,
    this: u32,
}

/// `_RTTIClassHierarchyDescriptor`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Hierarchy {
    signature: u32,
    attributes: u32,
    bases: u32,
    list: u32,
}

/// `_RTTIBaseClassDescriptor`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Base {
    type_descriptor: u32,
    /// How many of the bases after it in the list are its own.
    contains: u32,
    member: i32,
    /// Where in the object the pointer to the table of virtual bases is; negative: the base is not virtual.
    table: i32,
    in_table: i32,
    attributes: u32,
}

/// Somewhere on the way from the complete object to this base is one that is not public.
const NOT_VISIBLE: u32 = 1;
/// The base occurs more than once.
const AMBIGUOUS: u32 = 2;
/// The base is not public.
const NOT_PUBLIC: u32 = 8;

/// A type's name follows two pointers.
const NAME: u64 = 16;

fn at<T: Copy>(address: u64) -> T {
    Ptr::from_guest(address).get()
}

/// An object and its type, from a pointer to any part of it that has virtual functions.
struct Object {
    image: u64,
    complete: u64,
    locator: Locator,
}

impl Object {
    fn of(part: u64) -> Self {
        let locator_at: u64 = at(at::<u64>(part) - 8);
        let locator: Locator = at(locator_at);
        let moved = if locator.moved == 0 { 0 } else { at::<i32>(part - u64::from(locator.moved)) };
        let complete = part - u64::from(locator.offset);
        Self {
            image: locator_at - u64::from(locator.this),
            complete: complete.wrapping_sub_signed(moved.into()),
            locator,
        }
    }

    /// All parts of the object: those that a part contains come right after it.
    fn parts(&self) -> Vec<Part> {
        let hierarchy: Hierarchy = at(self.image + u64::from(self.locator.hierarchy));
        let list = self.image + u64::from(hierarchy.list);
        let base = |n| at::<Base>(self.image + u64::from(at::<u32>(list + 4 * u64::from(n))));
        (0..hierarchy.bases).map(base).map(|base| Part { at: self.place(&base), base }).collect()
    }

    /// Where a base is.
    fn place(&self, base: &Base) -> u64 {
        let virtual_part = match base.table {
            ..0 => 0,
            table => {
                let table_at = self.complete + u64::from(table.cast_unsigned());
                let distance: i32 = at(at::<u64>(table_at).wrapping_add_signed(base.in_table.into()));
                i64::from(table) + i64::from(distance)
            }
        };
        self.complete.wrapping_add_signed(virtual_part + i64::from(base.member))
    }

    fn is(&self, part: &Part, type_descriptor: u64) -> bool {
        let own = self.image + u64::from(part.base.type_descriptor);
        let name = |type_descriptor: u64| Ptr::<u8>::from_guest(type_descriptor + NAME);
        own == type_descriptor || name(own).text() == name(type_descriptor).text()
    }

    /// The part of type `target` that `source` at `from` can be cast to (C++, [expr.dynamic.cast]).
    fn cast(&self, from: u64, source: u64, target: u64) -> Option<u64> {
        let parts = self.parts();
        let is_source = |part: &Part| part.at == from && self.is(part, source);
        let targets = || parts.iter().enumerate().filter(|(_, part)| self.is(part, target));
        // Down: to the one object that the part is a public base of.
        let down = targets().filter(|&(nth, part)| {
            let within = parts.iter().skip(nth + 1).take(part.base.contains as usize);
            within.into_iter().any(|p| is_source(p) && p.base.attributes & NOT_PUBLIC == 0)
        });
        only(down.map(|(_, part)| part.at)).or_else(|| {
            // Across: through the complete object, of which both are public bases, and the target the only one.
            let visible = |part: &&Part| part.base.attributes & NOT_VISIBLE == 0;
            parts.iter().filter(visible).find(|part| is_source(part))?;
            let across = targets().map(|(_, part)| part).filter(visible);
            only(across.filter(|part| part.base.attributes & AMBIGUOUS == 0).map(|part| part.at))
        })
    }
}

struct Part {
    at: u64,
    base: Base,
}

/// The only one of several addresses.
fn only(mut all: impl Iterator<Item = u64>) -> Option<u64> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// What the C++ runtime throws.
const CPP_EXCEPTION: u32 = 0xe06d_7363;

/// `dynamic_cast`: from where, where in `source` the pointer to its table is, both types, whether it is one to a
/// reference. A pointer becomes null where it fails. A reference cannot: a C++ exception is raised instead, without a
/// type, because whoever could catch it by one has this function from the real runtime.
pub(crate) extern "win64" fn dynamic_cast(context: Ptr<ContextRecord>, arguments: Ptr<[u64; 5]>) -> u64 {
    let [from, delta, source, target, is_reference] = arguments.get();
    let part = from.wrapping_sub_signed((delta as i32).into());
    let to = if from == 0 { None } else { Object::of(from).cast(part, source, target) };
    if to.is_none() && is_reference as i32 != 0 {
        raise_code(CPP_EXCEPTION, context)
    }
    to.unwrap_or(0)
}

/// `typeid` of an object. Of a null pointer it is a C++ exception, as above.
pub(crate) extern "win64" fn type_of(context: Ptr<ContextRecord>, arguments: Ptr<u64>) -> u64 {
    let from = arguments.get();
    if from == 0 {
        raise_code(CPP_EXCEPTION, context)
    }
    let object = Object::of(from);
    object.image + u64::from(object.locator.type_descriptor)
}

/// `dynamic_cast<void *>`.
pub(super) extern "win64" fn __RTCastToVoid(from: u64) -> u64 {
    if from == 0 { 0 } else { Object::of(from).complete }
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    /// An image in memory: structures one after the other, found again by their distance from its start.
    struct Image(Box<[u32; 256]>, usize);

    impl Image {
        fn base(&self) -> u64 {
            self.0.as_ptr().expose_provenance() as u64
        }

        fn add(&mut self, words: &[u32]) -> u32 {
            let at = self.1;
            self.0[at..at + words.len()].copy_from_slice(words);
            self.1 += words.len().next_multiple_of(2);
            4 * at as u32
        }

        fn of_type(&mut self, name: u8) -> u32 {
            self.add(&[0, 0, 0, 0, u32::from(name)])
        }

        /// A table of virtual functions: the address of the locator comes before it.
        fn table(&mut self, offset: u32, own_type: u32, hierarchy: u32) -> u64 {
            let here = 4 * self.1 as u32;
            let locator = self.add(&[1, offset, 0, own_type, hierarchy, here]);
            let address = self.base() + u64::from(locator);
            let table = self.add(&[address as u32, (address >> 32) as u32, 0, 0]);
            self.base() + u64::from(table) + 8
        }
    }

    /// `struct A { virtual … }; struct B { virtual … }; struct C : A, B {}; struct D : C {}`, and an object of each of
    /// C and D: two pointers to tables, A's at 0 and B's at 8.
    #[test]
    fn casts_go_up_down_and_across() {
        let mut image = Image(Box::new([0; 256]), 2);
        let [a, b, c, d] = [b'A', b'B', b'C', b'D'].map(|name| image.of_type(name));
        let base =
            |image: &mut Image, own_type, contains, at| image.add(&[own_type, contains, at, u32::MAX, 0, 0]);
        let (as_a, as_b) = (base(&mut image, a, 0, 0), base(&mut image, b, 0, 8));
        let (as_c, as_d) = (base(&mut image, c, 2, 0), base(&mut image, d, 3, 0));
        let list = image.add(&[as_d, as_c, as_a, as_b]);
        let of_d = image.add(&[0, 1, 4, list]);
        let of_c = image.add(&[0, 1, 3, list + 4]);
        let objects = [(c, of_c), (d, of_d)].map(|(own_type, hierarchy)| {
            [image.table(0, own_type, hierarchy), image.table(8, own_type, hierarchy)]
        });
        let address = |own_type: u32| image.base() + u64::from(own_type);
        let place = |part: &u64| std::ptr::from_ref(part).expose_provenance() as u64;
        let cast =
            |part: &u64, from, to| Object::of(place(part)).cast(place(part), address(from), address(to));
        let [object_c, object_d] = &objects;
        assert_eq!(cast(&object_c[1], b, c), Some(place(&object_c[0])), "down");
        assert_eq!(cast(&object_c[1], b, a), Some(place(&object_c[0])), "across");
        assert_eq!(cast(&object_c[0], a, b), Some(place(&object_c[1])), "across");
        assert_eq!(cast(&object_c[0], a, d), None, "it is no D");
        assert_eq!(cast(&object_d[1], b, d), Some(place(&object_d[0])), "down, two steps");
        assert_eq!(__RTCastToVoid(place(&object_d[1])), place(&object_d[0]));
        let (mut arguments, null) = ([place(&object_d[1]), 0, address(b), address(a), 0], Ptr::NULL);
        // SAFETY: the arguments outlive the calls; nothing is raised, so that no context is looked at.
        let result = dynamic_cast(null, unsafe { Ptr::new(&raw mut arguments) });
        assert_eq!(result, place(&object_d[0]));
        // SAFETY: as above.
        assert_eq!(type_of(null, unsafe { Ptr::new(arguments.as_mut_ptr()) }), address(d));
    }
}
