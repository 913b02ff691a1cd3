extern "C" __declspec(dllimport) void tlog(const char *);
#define EXPORT extern "C" __declspec(dllexport)

/* Nobody reads what a program says that ends so; without this the library is four times as big. */
namespace __gnu_cxx { void __verbose_terminate_handler() { __builtin_trap(); } }

/* The C++ runtime keeps memory for exceptions that are thrown when there is none, and gives it back only when asked. */
namespace __gnu_cxx { void __freeres(); }
__attribute__((destructor)) static void give_back() { __gnu_cxx::__freeres(); }

struct Noted {
    const char *name;
    ~Noted() { tlog(name); }
};

struct Base { virtual int what() { return 1; } };
struct Derived : Base { int what() override { return 2; } };

static __attribute__((noinline)) void thrower(int what)
{
    Noted inner{"inner destroyed"};
    switch (what) {
    case 1: throw 42;
    case 2: throw Derived();
    case 3: throw "text";
    }
}

static __attribute__((noinline)) double between(int what)
{
    Noted outer{"outer destroyed"};
    thrower(what);
    return 0.5;
}

EXPORT int caught(int what)
{
    try {
        return between(what) == 0.5 ? 0 : -1;
    } catch (int i) {
        return i;
    } catch (Base &b) {
        return b.what();
    } catch (...) {
        return 99;
    }
}

static __attribute__((noinline)) void rethrower(int what)
{
    try {
        between(what);
    } catch (int) {
        tlog("again");
        throw;
    }
}

EXPORT int rethrown(int what)
{
    try {
        rethrower(what);
    } catch (int i) {
        return i + 1;
    }
    return 0;
}

/* One exception while another is being handled, and one in a destructor that catches it. */
struct Catches {
    ~Catches()
    {
        try {
            between(2);
        } catch (Base &b) {
            tlog(b.what() == 2 ? "caught in a destructor" : "wrong");
        }
    }
};

EXPORT int nested(int what)
{
    try {
        Catches catches;
        between(what);
    } catch (int) {
        return caught(2);
    }
    return 0;
}
