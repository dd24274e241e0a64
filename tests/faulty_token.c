/* A PKCS#11 module for tests: it stands before the module that FAULTY_TOKEN_MODULE names and breaks what it is told to.

   It is told on a board: a file that FAULTY_TOKEN_BOARD names, mapped by every process that loads this module and by
   the test (tests/faulty_token.py, which has the same layout). Each of the 68 functions has a row there: how often it
   was called, and what is to happen to the calls that follow. Faults come and go while a server runs. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long word;
/* Every parameter of every function is a word or a pointer, at most eight of them; what is too much is not looked at. */
typedef word (*function)(word, word, word, word, word, word, word, word);

enum { ALL = 68, LOGINS = 4096, SESSIONS = 4096 };
/* Places in CK_FUNCTION_LIST (PKCS#11 2.40, section 3.6), counted from C_Initialize. */
enum { GET_FUNCTION_LIST = 3, GET_SLOT_LIST = 4, OPEN_SESSION = 12, CLOSE_SESSION = 13, CLOSE_ALL_SESSIONS = 14, LOGIN = 18, WAIT_FOR_SLOT_EVENT = 67 };
enum { FORWARD, FAIL, HANG, DELAY, LOSE_SESSION, LOSE_SESSIONS, FLIP, FAIL_AFTER, REVERSE };

struct row {
    uint64_t calls;  /* since the board was made */
    uint64_t main;   /* of these, by a process's first thread */
    uint64_t action; /* what happens */
    uint64_t skip;   /* to how many calls it does not happen yet */
    uint64_t left;   /* to how many calls it happens then */
    uint64_t value;  /* of FAIL, FAIL_AFTER: the return code; of DELAY: milliseconds */
    uint64_t struck; /* how often it happened */
    uint64_t hanging;
};

struct board {
    uint64_t logins;   /* how many C_Login there were */
    uint64_t overlaps; /* how often two threads were in one session at once */
    struct row rows[ALL];
    uint64_t answers[LOGINS]; /* the token's answer to each C_Login */
};

struct list {
    unsigned char version[2];
    function functions[ALL];
};

static struct list *real, ours;
static struct board *board;
static word slot;
static uint64_t inside[SESSIONS]; /* the thread that is in a session now */

/* Take one from a counter unless it is empty: several processes and threads do so at once. */
static int take(uint64_t *counter) {
    uint64_t seen = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
    while (seen > 0)
        if (__atomic_compare_exchange_n(counter, &seen, seen - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return 1;
    return 0;
}

static void add(uint64_t *counter, uint64_t number) { __atomic_fetch_add(counter, number, __ATOMIC_SEQ_CST); }

static void pause_for(uint64_t milliseconds) {
    struct timespec pause = {(time_t)(milliseconds / 1000), (long)(milliseconds % 1000 * 1000000)};
    nanosleep(&pause, NULL);
}

static word forward(int place, const word *a) {
    return real->functions[place](a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);
}

static void reverse(word *slots, word count) {
    for (word first = 0; slots != NULL && first < count / 2; first++) {
        word kept = slots[first];
        slots[first] = slots[count - 1 - first];
        slots[count - 1 - first] = kept;
    }
}

static word strike(int place, struct row *row, const word *a) {
    word none[8] = {a[0]}, outcome;
    uint64_t action = row->action, value = row->value;
    add(&row->struck, 1);
    switch (action) {
    case FAIL:
        return (word)value;
    case FAIL_AFTER:
        forward(place, a);
        return (word)value;
    case HANG:
        add(&row->hanging, 1);
        while (__atomic_load_n(&row->action, __ATOMIC_SEQ_CST) == HANG)
            pause_for(5);
        add(&row->hanging, (uint64_t)-1);
        return forward(place, a);
    case DELAY:
        pause_for(value);
        return forward(place, a);
    case LOSE_SESSION:
        forward(CLOSE_SESSION, none);
        return forward(place, a);
    case LOSE_SESSIONS:
        none[0] = slot;
        forward(CLOSE_ALL_SESSIONS, none);
        return forward(place, a);
    case FLIP: /* C_Sign, C_Decrypt (session, in, its size, out, its size) */
        outcome = forward(place, a);
        if (outcome == 0)
            *(unsigned char *)a[3] ^= 1;
        return outcome;
    case REVERSE: /* C_GetSlotList (whether present, list, its size) */
        outcome = forward(place, a);
        if (outcome == 0)
            reverse((word *)a[1], *(word *)a[2]);
        return outcome;
    }
    return forward(place, a);
}

/* A call that asks for the length of an output has nothing to spoil. */
static int is_due(struct row *row, const word *a) {
    uint64_t action = __atomic_load_n(&row->action, __ATOMIC_SEQ_CST);
    if (action == FORWARD || (action == FLIP && a[3] == 0) || take(&row->skip))
        return 0;
    return take(&row->left);
}

static int is_in_session(int place) {
    return place >= CLOSE_SESSION && place != CLOSE_ALL_SESSIONS && place < WAIT_FOR_SLOT_EVENT;
}

static word call(int place, word a0, word a1, word a2, word a3, word a4, word a5, word a6, word a7) {
    word a[8] = {a0, a1, a2, a3, a4, a5, a6, a7}, outcome;
    struct row *row = &board->rows[place];
    uint64_t thread = (uint64_t)syscall(SYS_gettid), *holder = is_in_session(place) ? &inside[a0 % SESSIONS] : NULL;
    add(&row->calls, 1);
    if (thread == (uint64_t)getpid())
        add(&row->main, 1);
    if (place == OPEN_SESSION)
        slot = a0;
    if (holder != NULL && __atomic_exchange_n(holder, thread, __ATOMIC_SEQ_CST) != 0)
        add(&board->overlaps, 1);
    outcome = is_due(row, a) ? strike(place, row, a) : forward(place, a);
    if (holder != NULL)
        __atomic_store_n(holder, 0, __ATOMIC_SEQ_CST);
    if (place == LOGIN)
        board->answers[__atomic_fetch_add(&board->logins, 1, __ATOMIC_SEQ_CST) % LOGINS] = outcome;
    return outcome;
}

#define ONE(n)                                                                                                         \
    static word f##n(word a, word b, word c, word d, word e, word f, word g, word h) {                                 \
        return call(n, a, b, c, d, e, f, g, h);                                                                        \
    }
#define TEN(t) ONE(t##0) ONE(t##1) ONE(t##2) ONE(t##3) ONE(t##4) ONE(t##5) ONE(t##6) ONE(t##7) ONE(t##8) ONE(t##9)
#define NAMES(t) f##t##0, f##t##1, f##t##2, f##t##3, f##t##4, f##t##5, f##t##6, f##t##7, f##t##8, f##t##9
ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9)
TEN(1) TEN(2) TEN(3) TEN(4) TEN(5)
ONE(60) ONE(61) ONE(62) ONE(63) ONE(64) ONE(65) ONE(66) ONE(67)

static const function wrapped[ALL] = {f0,       f1,       f2,       f3,       f4,  f5,  f6,  f7,  f8,  f9,
                                      NAMES(1), NAMES(2), NAMES(3), NAMES(4), NAMES(5),
                                      f60,      f61,      f62,      f63,      f64, f65, f66, f67};

static int open_board(void) {
    int file = open(getenv("FAULTY_TOKEN_BOARD"), O_RDWR | O_CLOEXEC);
    if (file < 0)
        return 0;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return board != MAP_FAILED;
}

word C_GetFunctionList(struct list **answer) {
    if (real == NULL) {
        void *module = dlopen(getenv("FAULTY_TOKEN_MODULE"), RTLD_NOW | RTLD_LOCAL);
        word (*list)(struct list **) = module ? (word (*)(struct list **))dlsym(module, "C_GetFunctionList") : NULL;
        if (list == NULL || !open_board() || list(&real) != 0)
            return 5; /* CKR_GENERAL_ERROR */
        memcpy(ours.version, real->version, sizeof ours.version);
        memcpy(ours.functions, wrapped, sizeof wrapped);
        ours.functions[GET_FUNCTION_LIST] = (function)C_GetFunctionList;
    }
    *answer = &ours;
    return 0;
}
