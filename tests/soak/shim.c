/* What a process and its children do to the files below SOAK_ROOT, for the tests of power cuts and of bad disks.
 *
 * Loaded with LD_PRELOAD. With SOAK_LOG, each change and each sync is appended to that file once it is done, in the
 * order in which they happened, with what is sent over sockets in between. With SOAK_FAULT, changes fail for as long
 * as that file is there, with the error number that it holds; if a word follows, those whose path has that word in it.
 * With SOAK_KILLER, a worker kills itself when its main thread has made as many changes as that file says since
 * it was there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, RMDIR, SEND };

struct header {
    uint32_t kind, first, second, data;
    int64_t inode, offset;
};

static pthread_mutex_t turn = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int log_fd = -1, is_worker;
static const char *root, *fault, *killer;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void begin(void) {
    root = getenv("SOAK_ROOT");
    fault = getenv("SOAK_FAULT");
    killer = getenv("SOAK_KILLER");
    char line[4096] = {0};
    int (*plain_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int command = plain_open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(command, line, sizeof line - 1);
    close(command);
    for (ssize_t place = 0; place < length; place++) is_worker |= strcmp(line + place, "ctiqa_node.worker") == 0;
    const char *path = getenv("SOAK_LOG");
    if (path) {
        int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
        log_fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
}

static int inside(const char *path) {
    size_t length = root ? strlen(root) : 0;
    return length && strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

/* The absolute path of a name below a folder that is open, or below the working directory. */
static int absolute(int dir, const char *name, char *path) {
    char base[PATH_MAX], link[64];
    if (!name) return 0;
    if (name[0] == '/') return snprintf(path, PATH_MAX, "%s", name) > 0 && inside(path);
    if (dir == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length < 0) return 0;
        base[length] = 0;
    }
    if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) return 0;
    return inside(path);
}

static int ours(int fd, struct stat *status, char *path) {
    char link[64];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    int is = 0;
    if (length > 0) {
        path[length] = 0;
        is = inside(path) && fstat(fd, status) == 0 && (S_ISREG(status->st_mode) || S_ISDIR(status->st_mode));
    }
    errno = before;
    return is;
}

/* Dies after so many changes as the file SOAK_KILLER says, if this is a worker; the file goes with it. */
static void die_in_time(void) {
    static long left = -1;
    if (!killer || !is_worker || syscall(SYS_gettid) != getpid()) return; /* its signs of life are of another thread */
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int before = errno, fd = real_open(killer, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        char text[16] = {0};
        if (left < 0 && read(fd, text, sizeof text - 1) > 0) left = atol(text);
        close(fd);
        if (left-- == 0) {
            int (*real_unlink)(const char *) = dlsym(RTLD_NEXT, "unlink");
            real_unlink(killer);
            kill(getpid(), SIGKILL);
        }
    }
    errno = before;
}

static void note(int kind, const char *first, const char *second, const void *data, size_t size, int64_t inode,
                 int64_t offset) {
    die_in_time();
    if (log_fd < 0) return;
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    struct header header = {kind, first ? strlen(first) : 0, second ? strlen(second) : 0, size, inode, offset};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)first, header.first}, {(void *)second, header.second},
                            {(void *)data, size}};
    int before = errno;
    if (real(log_fd, parts, 4) < 0) abort();
    errno = before;
}

/* Whether a change is to fail now; sets errno. */
static int bad(const char *path) {
    if (!fault) return 0;
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int before = errno, fd = real_open(fault, O_RDONLY | O_CLOEXEC);
    errno = before;
    if (fd < 0) return 0;
    char text[128] = {0}, where[96] = "";
    int number = EIO;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    errno = before;
    if (length <= 0 || sscanf(text, "%d %95s", &number, where) < 1 || !strstr(path, where)) return 0;
    errno = number;
    return 1;
}

static int opened(int (*real)(int, const char *, int, ...), int dir, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    int changes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    if (!changes || !absolute(dir, name, path)) return real(dir, name, flags, mode);
    pthread_mutex_lock(&turn);
    struct stat status;
    int fd = -1, new = lstat(path, &status) != 0;
    /* A full disk lets files be opened that are there; a read-only one does not. */
    if (!bad(path) || (errno == ENOSPC && !new)) {
        fd = real(dir, name, flags, mode);
        if (fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
            if (new) note(CREATE, path, NULL, NULL, 0, status.st_ino, 0);
            else if (flags & O_TRUNC) note(TRUNCATE, NULL, NULL, NULL, 0, status.st_ino, 0);
        }
    }
    pthread_mutex_unlock(&turn);
    return fd;
}

static mode_t mode_of(int flags, va_list more) { return flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; }

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = mode_of(flags, more); \
        va_end(more); \
        REAL(int, "openat", int, const char *, int, ...); \
        return opened(real, AT_FDCWD, path, flags, mode); \
    }
#define OPENS_AT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = mode_of(flags, more); \
        va_end(more); \
        REAL(int, "openat", int, const char *, int, ...); \
        return opened(real, dir, path, flags, mode); \
    }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    struct stat status;
    char path[PATH_MAX];
    if (!root || !ours(fd, &status, path)) return real(fd, data, size);
    pthread_mutex_lock(&turn);
    ssize_t done = bad(path) ? -1 : real(fd, data, size);
    if (done > 0) note(WRITE, NULL, NULL, data, done, status.st_ino, lseek(fd, 0, SEEK_CUR) - done);
    pthread_mutex_unlock(&turn);
    return done;
}

#define PWRITES(name) \
    ssize_t name(int fd, const void *data, size_t size, off_t offset) { \
        REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t); \
        struct stat status; \
        char path[PATH_MAX]; \
        if (!root || !ours(fd, &status, path)) return real(fd, data, size, offset); \
        pthread_mutex_lock(&turn); \
        ssize_t done = bad(path) ? -1 : real(fd, data, size, offset); \
        if (done > 0) note(WRITE, NULL, NULL, data, done, status.st_ino, offset); \
        pthread_mutex_unlock(&turn); \
        return done; \
    }
PWRITES(pwrite)
PWRITES(pwrite64)

#define TRUNCATES(name) \
    int name(int fd, off_t size) { \
        REAL(int, "ftruncate64", int, off_t); \
        struct stat status; \
        char path[PATH_MAX]; \
        if (!root || !ours(fd, &status, path)) return real(fd, size); \
        pthread_mutex_lock(&turn); \
        int done = bad(path) ? -1 : real(fd, size); \
        if (done == 0) note(TRUNCATE, NULL, NULL, NULL, 0, status.st_ino, size); \
        pthread_mutex_unlock(&turn); \
        return done; \
    }
TRUNCATES(ftruncate)
TRUNCATES(ftruncate64)

#define SYNCS(name) \
    int name(int fd) { \
        REAL(int, #name, int); \
        struct stat status; \
        char path[PATH_MAX]; \
        if (!root || !ours(fd, &status, path)) return real(fd); \
        pthread_mutex_lock(&turn); \
        int done = bad(path) ? -1 : 0; /* nothing is to be gained by troubling the disk of the tests */ \
        if (done == 0) note(SYNC, S_ISDIR(status.st_mode) ? path : NULL, NULL, NULL, 0, status.st_ino, 0); \
        pthread_mutex_unlock(&turn); \
        return done; \
    }
SYNCS(fsync)
SYNCS(fdatasync)

static int renamed(int from, const char *old, int to, const char *new) {
    REAL(int, "renameat", int, const char *, int, const char *);
    char first[PATH_MAX], second[PATH_MAX];
    if (!absolute(from, old, first) || !absolute(to, new, second)) return real(from, old, to, new);
    pthread_mutex_lock(&turn);
    int done = bad(second) ? -1 : real(from, old, to, new);
    if (done == 0) note(RENAME, first, second, NULL, 0, 0, 0);
    pthread_mutex_unlock(&turn);
    return done;
}
int rename(const char *old, const char *new) { return renamed(AT_FDCWD, old, AT_FDCWD, new); }
int renameat(int from, const char *old, int to, const char *new) { return renamed(from, old, to, new); }

int unlinkat(int dir, const char *name, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    char path[PATH_MAX];
    if (!absolute(dir, name, path)) return real(dir, name, flags);
    pthread_mutex_lock(&turn);
    int done = bad(path) && errno != ENOSPC ? -1 : real(dir, name, flags);
    if (done == 0) note(flags & AT_REMOVEDIR ? RMDIR : UNLINK, path, NULL, NULL, 0, 0, 0);
    pthread_mutex_unlock(&turn);
    return done;
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int dir, const char *name, mode_t mode) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    char path[PATH_MAX];
    if (!absolute(dir, name, path)) return real(dir, name, mode);
    pthread_mutex_lock(&turn);
    struct stat status;
    int there = lstat(path, &status) == 0;
    int done = !there && bad(path) ? -1 : real(dir, name, mode);
    if (done == 0) note(MKDIR, path, NULL, NULL, 0, 0, 0);
    pthread_mutex_unlock(&turn);
    return done;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

ssize_t send(int fd, const void *data, size_t size, int flags) {
    REAL(ssize_t, "send", int, const void *, size_t, int);
    /* Before it is sent: whoever gets it has been promised something. */
    if (root && size && ((const char *)data)[0] == 4 && size < 4096) note(SEND, NULL, NULL, data, size, 0, 0);
    return real(fd, data, size, flags);
}
