// Loaded into an engine (LD_PRELOAD): notes how much of each file is known to be on the disk.
// After every fsync and fdatasync that succeeded: a line "NANOSECONDS INODE SIZE PATH", with the monotonic time before the
// call and the SIZE as it was then. Of two calls at once the later one may end and be noted first: the time tells which
// one knew more.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t looking = PTHREAD_MUTEX_INITIALIZER;

// The time and what is to be synced then: of two looks the one with the later time is the later one.
static int look(int fd, struct timespec *now, struct stat *file) {
    pthread_mutex_lock(&looking);
    clock_gettime(CLOCK_MONOTONIC, now);
    int outcome = fstat(fd, file);
    pthread_mutex_unlock(&looking);
    return outcome;
}

static void note(int fd, const struct timespec *when, const struct stat *before) {
    char link[64], path[PATH_MAX], line[PATH_MAX + 96];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    const char *log = getenv("SYNCED_LOG");
    if (length < 0 || log == NULL) {
        return;
    }
    path[length] = 0;
    long long nanoseconds = when->tv_sec * 1000000000LL + when->tv_nsec;
    int used = snprintf(line, sizeof line, "%lld %llu %lld %s\n", nanoseconds, (unsigned long long)before->st_ino,
                        (long long)before->st_size, path);
    int out = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (out < 0 || write(out, line, (size_t)used) != used) {
        abort();  // better no engine than one whose notes are wrong
    }
    close(out);
}

static int noted(int fd, const char *name) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct timespec when;
    struct stat before;
    int known = look(fd, &when, &before);
    int outcome = real(fd);
    int saved = errno;
    if (outcome == 0 && known == 0) {
        note(fd, &when, &before);
    }
    errno = saved;
    return outcome;
}

int fsync(int fd) { return noted(fd, "fsync"); }
int fdatasync(int fd) { return noted(fd, "fdatasync"); }
