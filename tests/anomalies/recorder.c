/* Record what a command does to the files below a folder: LD_PRELOAD=recorder.so.

RECORDER_ROOT is the folder, RECORDER_LOG the list of operations (outside of it), RECORDER_STDOUT the inode of the
command's standard output. All processes write to one list, in one order: an operation and its record hold a lock.

A record is a line "KIND INODE OFFSET LENGTH", LENGTH bytes and a line break. The bytes are a path, two paths (a NUL
between them), what was written, or what was printed. Files that end with -shm (SQLite's) are left out.
  C create  T truncate to OFFSET  W write at OFFSET  S fsync  D fdatasync  M mkdir  R rename  L link  Y symlink
  U unlink  X rmdir  P print  F a sync that failed  E a shared mapping for writing, which can't be recorded */
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int list = -1, owner;

static void lock(void) {
  pthread_mutex_lock(&mutex);
  if (owner != getpid()) { /* a lock of flock belongs to the open file: each process opens its own */
    const char *path = getenv("RECORDER_LOG");
    list = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    owner = getpid();
  }
  flock(list, LOCK_EX);
}

static void unlock(void) {
  int error = errno;
  flock(list, LOCK_UN);
  pthread_mutex_unlock(&mutex);
  errno = error;
}

static void record(char kind, ino_t inode, off_t offset, const void *data, size_t length) {
  char head[80];
  int size = snprintf(head, sizeof head, "%c %lu %ld %zu\n", kind, (unsigned long)inode, (long)offset, length);
  struct iovec parts[] = {{head, size}, {(void *)data, length}, {"\n", 1}};
  syscall(SYS_writev, list, parts, 3);
}

/* The error of this call, or 0; -1: of a write, only half is written. RECORDER_FAIL is "KIND PATTERN NUMBER ERROR COUNT":
of the calls of a kind on paths that match the pattern, for each of which the file COUNT gets a byte, the one with this
number fails with this error. */
static int fault_of(char kind, const char *path) {
  char wanted, pattern[PATH_MAX], count[PATH_MAX];
  const char *given = getenv("RECORDER_FAIL");
  int number, error;
  struct stat found;
  if (!given || sscanf(given, "%c %4000s %d %d %4000s", &wanted, pattern, &number, &error, count) != 5) return 0;
  if (wanted != kind || fnmatch(pattern, path, 0)) return 0;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, count, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  fstat(fd, &found);
  syscall(SYS_write, fd, "", 1);
  close(fd);
  return found.st_size + 1 == number ? error : 0;
}

static int failed_with(int error) {
  errno = error;
  unlock();
  return -1;
}
#define MAY_FAIL(kind, path) { int fault = fault_of(kind, path); if (fault) return failed_with(fault); }

static int is_recorded(const char *path) {
  const char *root = getenv("RECORDER_ROOT");
  size_t length = strlen(path), n = root ? strlen(root) : 0;
  return n && !strncmp(path, root, n) && (!path[n] || path[n] == '/') && !(length > 4 && !strcmp(path + length - 4, "-shm"));
}

/* The path of a name: that of its folder, without links, and the name. Whether it is recorded. */
static int resolve(int folder, const char *name, char *path) {
  char given[PATH_MAX], parent[PATH_MAX], link[40];
  if (name[0] == '/') snprintf(given, sizeof given, "%s", name);
  else {
    if (folder == AT_FDCWD) { if (!getcwd(parent, sizeof parent)) return 0; }
    else {
      snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
      ssize_t n = readlink(link, parent, sizeof parent - 1);
      if (n < 0) return 0;
      parent[n] = 0;
    }
    if (snprintf(given, sizeof given, "%s/%s", parent, name) >= (int)sizeof given) return 0;
  }
  for (size_t n = strlen(given); n > 1 && given[n - 1] == '/'; n--) given[n - 1] = 0;
  char *slash = strrchr(given, '/');
  *slash = 0;
  if (!realpath(*given ? given : "/", parent)) return 0;
  return snprintf(path, PATH_MAX, "%s/%s", parent, slash + 1) < PATH_MAX && is_recorded(path);
}

/* Whether a file that is open is recorded: a regular file or folder below the root that has a name. */
static int is_open(int fd, struct stat *found, char *path) {
  char link[40];
  if (fstat(fd, found) || !(S_ISREG(found->st_mode) || S_ISDIR(found->st_mode))) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, PATH_MAX - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return is_recorded(path);
}

static void wrote(int fd, ino_t inode, off_t offset, ssize_t length) {
  char link[40], *data = malloc(length);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int again = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
  for (ssize_t done = 0, n; done < length; done += n)
    if ((n = pread(again, data + done, length - done, offset + done)) <= 0) break;
  close(again);
  record('W', inode, offset, data, length);
  free(data);
}

static void resized(int fd, const struct stat *before) {
  struct stat after;
  if (!fstat(fd, &after) && after.st_size != before->st_size) record('T', after.st_ino, after.st_size, "", 0);
}

static int opened(int folder, const char *name, int flags, mode_t mode) {
  char path[PATH_MAX];
  struct stat before, after;
  REAL(openat);
  int writes = flags & (O_CREAT | O_TRUNC);
  if (!writes || (flags & O_TMPFILE) == O_TMPFILE || !resolve(folder, name, path)) return real(folder, name, flags, mode);
  lock();
  int is_new = lstat(path, &before);
  if (is_new) MAY_FAIL('C', path)
  int fd = real(folder, name, flags, mode);
  if (fd >= 0 && !fstat(fd, &after)) {
    if (is_new) record('C', after.st_ino, 0, path, strlen(path));
    else if (flags & O_TRUNC && before.st_size) record('T', after.st_ino, 0, "", 0);
  }
  unlock();
  return fd;
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { \
  va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags | O_LARGEFILE, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE return opened(folder, name, flags | O_LARGEFILE, mode); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_TRUNC | O_WRONLY, mode); }
int creat64(const char *name, mode_t mode) { return creat(name, mode); }

static int is_printed(int fd) {
  struct stat found;
  const char *inode = getenv("RECORDER_STDOUT");
  return fd == 1 && inode && !fstat(fd, &found) && found.st_ino == strtoul(inode, NULL, 10);
}

/* A call that writes at `offset`, `size` bytes or parts; HERE is where it began, if it moved the file's place. */
#define WRITES(name, types, arguments, fd, offset, size) \
ssize_t name types { \
  char path[PATH_MAX]; \
  struct stat before; \
  REAL(name); \
  int prints = is_printed(fd), fault; \
  if (!prints && !is_open(fd, &before, path)) return real arguments; \
  lock(); \
  fault = prints ? 0 : fault_of('W', path); \
  if (fault > 0) return failed_with(fault); \
  if (fault < 0) size = (size + 1) / 2; \
  ssize_t n = real arguments; \
  int error = errno; \
  if (n > 0 && prints) record('P', 0, 0, PRINTED, n); \
  else if (n > 0) wrote(fd, before.st_ino, offset, n); \
  errno = error; \
  unlock(); \
  return n; \
}
#define PRINTED data
#define HERE lseek(fd, 0, SEEK_CUR) - n
WRITES(write, (int fd, const void *data, size_t length), (fd, data, length), fd, HERE, length)
#undef PRINTED
#define PRINTED memset(alloca(n), '?', n) /* nothing that a command reports is printed so */
WRITES(writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), fd, HERE, count)
WRITES(pwrite, (int fd, const void *data, size_t length, off_t at), (fd, data, length, at), fd, at, length)
WRITES(pwrite64, (int fd, const void *data, size_t length, off_t at), (fd, data, length, at), fd, at, length)
WRITES(sendfile, (int fd, int from, off_t *at, size_t length), (fd, from, at, length), fd, HERE, length)
WRITES(sendfile64, (int fd, int from, off_t *at, size_t length), (fd, from, at, length), fd, HERE, length)
WRITES(copy_file_range, (int from, off_t *at, int fd, off_t *to, size_t length, unsigned flags),
       (from, at, fd, to, length, flags), fd, to ? *to - n : HERE, length)

#define RESIZES(name, types, arguments) \
int name types { \
  char path[PATH_MAX]; \
  struct stat before; \
  REAL(name); \
  if (!is_open(fd, &before, path)) return real arguments; \
  lock(); \
  int failed = real arguments; \
  if (!failed) resized(fd, &before); \
  unlock(); \
  return failed; \
}
RESIZES(ftruncate, (int fd, off_t length), (fd, length))
RESIZES(ftruncate64, (int fd, off_t length), (fd, length))
RESIZES(fallocate, (int fd, int mode, off_t at, off_t length), (fd, mode, at, length))
RESIZES(fallocate64, (int fd, int mode, off_t at, off_t length), (fd, mode, at, length))

int truncate(const char *name, off_t length) {
  char path[PATH_MAX];
  struct stat found;
  REAL(truncate);
  if (!resolve(AT_FDCWD, name, path)) return real(name, length);
  lock();
  int failed = real(name, length);
  if (!failed && !stat(path, &found)) record('T', found.st_ino, length, "", 0);
  unlock();
  return failed;
}

#define SYNCS(name, kind) \
int name(int fd) { \
  char path[PATH_MAX]; \
  struct stat found; \
  REAL(name); \
  if (!is_open(fd, &found, path)) return real(fd); \
  lock(); \
  int fault = fault_of(kind, path), failed = fault ? 0 : real(fd); \
  if (!failed) record(fault ? 'F' : kind, found.st_ino, 0, "", 0); \
  if (fault) return failed_with(fault); \
  unlock(); \
  return failed; \
}
SYNCS(fsync, 'S')
SYNCS(fdatasync, 'D')

/* A call that changes one name, and one that has a second name or the target of a link before it. */
#define NAMES(name, types, arguments, kind, folder, path) \
int name types { \
  char own[PATH_MAX]; \
  struct stat made = {0}; \
  REAL(name); \
  if (!resolve(folder, path, own)) return real arguments; \
  lock(); \
  MAY_FAIL(kind, own) \
  int failed = real arguments; \
  if (!failed) { \
    lstat(own, &made); \
    record(kind, made.st_ino, 0, own, strlen(own)); \
  } \
  unlock(); \
  return failed; \
}
NAMES(mkdir, (const char *path, mode_t mode), (path, mode), 'M', AT_FDCWD, path)
NAMES(mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), 'M', folder, path)
NAMES(rmdir, (const char *path), (path), 'X', AT_FDCWD, path)
NAMES(unlink, (const char *path), (path), 'U', AT_FDCWD, path)
NAMES(remove, (const char *path), (path), 'U', AT_FDCWD, path)
NAMES(unlinkat, (int folder, const char *path, int flags), (folder, path, flags),
      flags & AT_REMOVEDIR ? 'X' : 'U', folder, path)

#define PAIRS(name, types, arguments, kind, from_folder, from, to_folder, to) \
int name types { \
  char both[2 * PATH_MAX], own[PATH_MAX]; \
  struct stat made; \
  REAL(name); \
  if (!resolve(to_folder, to, own)) return real arguments; \
  if (kind == 'Y') snprintf(both, PATH_MAX, "%s", from); \
  else resolve(from_folder, from, both); \
  size_t length = strlen(both) + 1; \
  strcpy(both + length, own); \
  lock(); \
  MAY_FAIL(kind, own) \
  int failed = real arguments; \
  if (!failed && !lstat(own, &made)) record(kind, made.st_ino, 0, both, length + strlen(own)); \
  unlock(); \
  return failed; \
}
PAIRS(rename, (const char *from, const char *to), (from, to), 'R', AT_FDCWD, from, AT_FDCWD, to)
PAIRS(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), 'R', a, from, b, to)
PAIRS(link, (const char *from, const char *to), (from, to), 'L', AT_FDCWD, from, AT_FDCWD, to)
PAIRS(linkat, (int a, const char *from, int b, const char *to, int flags), (a, from, b, to, flags), 'L', a, from, b, to)
PAIRS(symlink, (const char *from, const char *to), (from, to), 'Y', AT_FDCWD, from, AT_FDCWD, to)

#define MAPS(name) \
void *name(void *at, size_t length, int protection, int flags, int fd, off_t offset) { \
  char path[PATH_MAX]; \
  struct stat found; \
  REAL(name); \
  if (fd >= 0 && protection & PROT_WRITE && flags & MAP_SHARED && is_open(fd, &found, path)) { \
    lock(); \
    record('E', found.st_ino, 0, "", 0); \
    unlock(); \
  } \
  return real(at, length, protection, flags, fd, offset); \
}
MAPS(mmap)
MAPS(mmap64)
