/* A PKCS#11 module for tests: SoftHSM with moods.

   It forwards everything to the module that SLOW_TOKEN_MODULE names, through that module's own function list.
   In the directory SLOW_TOKEN_MOODS
     logins         gets one line per C_Login, with the token's answer;
     delay          holds the milliseconds that C_Sign and C_Decrypt wait before they begin;
     lose-session   makes the next C_Sign end its session first, once (the file goes);
     lose-sessions  makes the next C_Sign end every session of the process first, and with them the login, once. */

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long ulong;
typedef ulong (*function)(void);

/* Places in CK_FUNCTION_LIST (PKCS#11 2.40, section 3.6), counted from C_Initialize. */
enum { OPEN_SESSION = 12, CLOSE_SESSION = 13, CLOSE_ALL_SESSIONS = 14, LOGIN = 18, DECRYPT = 33, SIGN = 43, ALL = 68 };

struct list {
    unsigned char version[2];
    function functions[ALL];
};

static struct list *real, ours;
static ulong slot;

static const char *mood(const char *name, char *path, size_t size) {
    snprintf(path, size, "%s/%s", getenv("SLOW_TOKEN_MOODS"), name);
    return path;
}

static int once(const char *name) {
    char path[512];
    return unlink(mood(name, path, sizeof path)) == 0;
}

static void be_slow(void) {
    char path[512], text[16] = "";
    int file = open(mood("delay", path, sizeof path), O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    if (read(file, text, sizeof text - 1) > 0) {
        long milliseconds = atol(text);
        struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    close(file);
}

static ulong open_session(ulong where, ulong flags, void *application, void *notify, ulong *session) {
    slot = where;
    return ((ulong (*)(ulong, ulong, void *, void *, ulong *))real->functions[OPEN_SESSION])(
        where, flags, application, notify, session);
}

static ulong login(ulong session, ulong user, unsigned char *pin, ulong length) {
    char path[512], line[32];
    ulong outcome = ((ulong (*)(ulong, ulong, unsigned char *, ulong))real->functions[LOGIN])(session, user, pin, length);
    int file = open(mood("logins", path, sizeof path), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) {
        int size = snprintf(line, sizeof line, "%#lx\n", outcome);
        if (write(file, line, size) != size)
            abort();
        close(file);
    }
    return outcome;
}

static ulong decrypt(ulong session, void *in, ulong size, void *out, ulong *length) {
    be_slow();
    return ((ulong (*)(ulong, void *, ulong, void *, ulong *))real->functions[DECRYPT])(session, in, size, out, length);
}

static ulong sign(ulong session, void *in, ulong size, void *out, ulong *length) {
    be_slow();
    if (once("lose-session"))
        ((ulong (*)(ulong))real->functions[CLOSE_SESSION])(session);
    if (once("lose-sessions"))
        ((ulong (*)(ulong))real->functions[CLOSE_ALL_SESSIONS])(slot);
    return ((ulong (*)(ulong, void *, ulong, void *, ulong *))real->functions[SIGN])(session, in, size, out, length);
}

ulong C_GetFunctionList(struct list **answer) {
    if (real == NULL) {
        void *module = dlopen(getenv("SLOW_TOKEN_MODULE"), RTLD_NOW | RTLD_LOCAL);
        ulong (*list)(struct list **) = module ? (ulong (*)(struct list **))dlsym(module, "C_GetFunctionList") : NULL;
        if (list == NULL || list(&real) != 0)
            return 5; /* CKR_GENERAL_ERROR */
        memcpy(&ours, real, sizeof ours);
        ours.functions[OPEN_SESSION] = (function)open_session;
        ours.functions[LOGIN] = (function)login;
        ours.functions[DECRYPT] = (function)decrypt;
        ours.functions[SIGN] = (function)sign;
    }
    *answer = &ours;
    return 0;
}
