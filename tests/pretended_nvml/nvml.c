/* A pretended NVML: its binary interface over a fleet that tests make up.
 *
 * Compiled against NVIDIA's own header, so that the unmodified nvidia-ml-py loads it as
 * libnvidia-ml.so.1. The fleet lives in a file that every process maps (PRETENDED_NVML_STATE):
 * a test sets it up through the pretended_* functions at the end, and models that "use" a GPU take
 * memory and time of it through the same. Processes that have ended hold nothing, as with a driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>

#define GPUS 32
#define PROCESSES 64
#define INTERVALS 8192          /* of the ring in which busy time is kept */
#define WINDOW_US 166667ULL     /* utilization is of the last sixth of a second */
#define BUFFERED 100            /* windows that the driver remembers */

enum { NO_UTILIZATION = 1, NO_PROCESSES = 2, NO_ENERGY = 4, NO_SAMPLES = 8, NO_MEMORY_V2 = 16, GPM = 32,
       GUARDED = 64, /* what only root may read is refused */
       SHARED = 128, /* the GPU has no memory of its own, as on Jetson and GB10 */
       OLD_DRIVER = 256, /* without what came with 510 and 535 */
       NO_PROCESS_MEMORY = 512, /* processes are listed, what they hold is not told, as on WDDM */
       MIG = 1024, /* in MIG mode, even without a slice */
       ODD_CLOCK = 2048, /* buffered samples carry times that are not the wall clock's */
       ODD_SAMPLES = 4096 /* and every other one holds no percentage */ };

typedef struct { uint64_t start_us, end_us; uint32_t memory_percent, pid; } interval_t;
typedef struct { uint32_t pid, draws; uint64_t bytes; } holder_t;
typedef struct {
    char name[NVML_DEVICE_NAME_V2_BUFFER_SIZE], uuid[NVML_DEVICE_UUID_V2_BUFFER_SIZE];
    uint64_t total, reserved;
    int32_t parent;             /* index of the GPU that this is a MIG slice of, or -1 */
    uint32_t flags, fault;      /* fault: what every call on the device returns */
    uint32_t idle_mw, busy_mw;
    uint64_t throttles, start_us;
    holder_t holders[PROCESSES];
    interval_t busy[INTERVALS];
    uint32_t next;              /* place of the next interval */
    uint64_t busy_us;           /* in all, for the energy counter */
    uint32_t fill;              /* percent of the multiprocessors that kernels take, for GPM */
    uint64_t filled_us;         /* busy_us, weighed by that */
} gpu_t;
typedef struct { uint32_t count; gpu_t gpus[GPUS]; } fleet_t;
typedef struct { uint64_t at_us, busy_us, filled_us; } gpm_t;

static fleet_t *fleet;

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static nvmlReturn_t attach(void) {
    const char *path = getenv("PRETENDED_NVML_STATE");
    if (fleet) return NVML_SUCCESS;
    if (!path) return NVML_ERROR_DRIVER_NOT_LOADED;
    int file = open(path, O_RDWR | O_CREAT, 0666);
    if (file < 0 || ftruncate(file, sizeof(fleet_t))) return NVML_ERROR_DRIVER_NOT_LOADED;
    void *at = mmap(NULL, sizeof(fleet_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at == MAP_FAILED) return NVML_ERROR_DRIVER_NOT_LOADED;
    fleet = at;
    return NVML_SUCCESS;
}

static gpu_t *of(nvmlDevice_t device) { return &fleet->gpus[(uintptr_t)device - 1]; }
static nvmlDevice_t handle(uint32_t index) { return (nvmlDevice_t)(uintptr_t)(index + 1); }

#define CHECK(device)                                                        \
    if (!fleet) return NVML_ERROR_UNINITIALIZED;                             \
    if (!device || (uintptr_t)device > fleet->count) return NVML_ERROR_INVALID_ARGUMENT; \
    if (of(device)->fault) return of(device)->fault

static uint64_t held(gpu_t *gpu) {
    uint64_t bytes = 0;
    for (int i = 0; i < PROCESSES; i++) {
        holder_t *h = &gpu->holders[i];
        if (h->pid && kill(h->pid, 0) && errno == ESRCH) *h = (holder_t){0};
        bytes += h->bytes;
    }
    return bytes;
}

/* Busy time within [from, to), of one process if given, and that in which memory was moved. */
static uint64_t busy_of(gpu_t *gpu, uint32_t pid, uint64_t from, uint64_t to, uint64_t *memory) {
    uint64_t busy = 0, moved = 0;
    for (int i = 0; i < INTERVALS; i++) {
        interval_t *b = &gpu->busy[i];
        if (pid && b->pid != pid) continue;
        uint64_t start = b->start_us > from ? b->start_us : from;
        uint64_t end = b->end_us < to ? b->end_us : to;
        if (end > start) {
            busy += end - start;
            moved += (end - start) * b->memory_percent / 100;
        }
    }
    if (memory) *memory = moved;
    return busy;
}

static uint64_t busy_within(gpu_t *gpu, uint64_t from, uint64_t to, uint64_t *memory) {
    return busy_of(gpu, 0, from, to, memory);
}

static unsigned percent(uint64_t part, uint64_t whole) {
    unsigned p = (unsigned)((part * 100 + whole / 2) / whole);
    return p > 100 ? 100 : p;
}

nvmlReturn_t nvmlInitWithFlags(unsigned int flags) { (void)flags; return attach(); }
nvmlReturn_t nvmlInit_v2(void) { return attach(); }
nvmlReturn_t nvmlShutdown(void) { return fleet ? NVML_SUCCESS : NVML_ERROR_UNINITIALIZED; }

const char *nvmlErrorString(nvmlReturn_t result) {
    switch (result) {
    case NVML_SUCCESS: return "The operation was successful";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_NO_PERMISSION: return "Insufficient Permissions";
    case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    default: return "Unknown Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    strncpy(version, "580.00.pretended", length);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) {
    if (!fleet) return NVML_ERROR_UNINITIALIZED;
    *count = 0;
    for (uint32_t i = 0; i < fleet->count; i++) *count += fleet->gpus[i].parent < 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    if (!fleet) return NVML_ERROR_UNINITIALIZED;
    for (uint32_t i = 0; i < fleet->count; i++)
        if (fleet->gpus[i].parent < 0 && index-- == 0) {
            *device = handle(i);
            return fleet->gpus[i].fault ? fleet->gpus[i].fault : NVML_SUCCESS;
        }
    return NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    CHECK(device);
    strncpy(uuid, of(device)->uuid, length);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    CHECK(device);
    strncpy(name, of(device)->name, length);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    CHECK(device);
    gpu_t *gpu = of(device);
    if (gpu->flags & SHARED) return NVML_ERROR_NOT_SUPPORTED;
    memory->total = gpu->total;
    memory->used = held(gpu) + gpu->reserved; /* the old query counts the reserve as used */
    memory->free = gpu->total - memory->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    CHECK(device);
    gpu_t *gpu = of(device);
    if (gpu->flags & SHARED) return NVML_ERROR_NOT_SUPPORTED;
    if (gpu->flags & NO_MEMORY_V2) return NVML_ERROR_FUNCTION_NOT_FOUND;
    if (memory->version != nvmlMemory_v2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->total = gpu->total;
    memory->reserved = gpu->reserved;
    memory->used = held(gpu);
    memory->free = gpu->total - memory->used - gpu->reserved;
    return NVML_SUCCESS;
}

static nvmlReturn_t list_processes(
    nvmlDevice_t device, uint32_t draws, unsigned int *count, nvmlProcessInfo_t *infos) {
    gpu_t *gpu = of(device);
    if (gpu->flags & GUARDED) return NVML_ERROR_NO_PERMISSION;
    if (gpu->flags & NO_PROCESSES) { *count = 0; return NVML_SUCCESS; } /* no host namespace */
    held(gpu);
    unsigned int room = *count, found = 0;
    for (int i = 0; i < PROCESSES; i++) {
        if (!gpu->holders[i].pid || gpu->holders[i].draws != draws) continue;
        if (infos && found < room) {
            memset(&infos[found], 0, sizeof(nvmlProcessInfo_t));
            infos[found].pid = gpu->holders[i].pid;
            infos[found].usedGpuMemory = gpu->flags & NO_PROCESS_MEMORY
                ? (unsigned long long)NVML_VALUE_NOT_AVAILABLE : gpu->holders[i].bytes;
            infos[found].gpuInstanceId = infos[found].computeInstanceId = 0xFFFFFFFF;
        }
        found++;
    }
    *count = found;
    return found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(
    nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos) {
    CHECK(device);
    if (of(device)->flags & OLD_DRIVER) return NVML_ERROR_FUNCTION_NOT_FOUND;
    return list_processes(device, 0, count, infos);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v2(
    nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_v2_t *infos) {
    CHECK(device);
    return list_processes(device, 0, count, infos);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(
    nvmlDevice_t device, unsigned int *count, nvmlProcessInfo_t *infos) {
    CHECK(device);
    return list_processes(device, 1, count, infos);
}

/* Of each process that had some, its busy share since then, in whole windows. */
nvmlReturn_t nvmlDeviceGetProcessUtilization(
    nvmlDevice_t device, nvmlProcessUtilizationSample_t *samples, unsigned int *count,
    unsigned long long last_seen) {
    CHECK(device);
    gpu_t *gpu = of(device);
    if (gpu->flags & GUARDED) return NVML_ERROR_NO_PERMISSION;
    if (gpu->flags & NO_UTILIZATION || gpu->parent >= 0) return NVML_ERROR_NOT_SUPPORTED;
    uint64_t end = now_us() / WINDOW_US * WINDOW_US;
    uint64_t first = end - BUFFERED * WINDOW_US, start = last_seen / WINDOW_US * WINDOW_US;
    if (start < first) start = first;
    if (end <= start) return NVML_ERROR_NOT_FOUND;
    uint32_t pids[PROCESSES];
    unsigned int found = 0;
    for (int i = 0; i < INTERVALS && found < PROCESSES; i++) {
        interval_t *b = &gpu->busy[i];
        unsigned int known = 0;
        if (b->end_us <= start || b->start_us >= end) continue;
        while (known < found && pids[known] != b->pid) known++;
        if (known == found) pids[found++] = b->pid;
    }
    if (!found) return NVML_ERROR_NOT_FOUND; /* as when all are idle */
    if (!samples || *count < found) { *count = found; return NVML_ERROR_INSUFFICIENT_SIZE; }
    for (unsigned int i = 0; i < found; i++) {
        uint64_t memory, busy = busy_of(gpu, pids[i], start, end, &memory);
        samples[i] = (nvmlProcessUtilizationSample_t){
            .pid = pids[i], .timeStamp = end, .smUtil = percent(busy, end - start),
            .memUtil = percent(memory, end - start)};
    }
    *count = found;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates) {
    CHECK(device);
    gpu_t *gpu = of(device);
    if (gpu->flags & NO_UTILIZATION || gpu->parent >= 0) return NVML_ERROR_NOT_SUPPORTED;
    uint64_t end = now_us() / WINDOW_US * WINDOW_US, memory;
    rates->gpu = percent(busy_within(gpu, end - WINDOW_US, end, &memory), WINDOW_US);
    rates->memory = percent(memory, WINDOW_US);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSamples(
    nvmlDevice_t device, nvmlSamplingType_t type, unsigned long long last_seen,
    nvmlValueType_t *value_type, unsigned int *count, nvmlSample_t *samples) {
    CHECK(device);
    gpu_t *gpu = of(device);
    if (gpu->flags & GUARDED) return NVML_ERROR_NO_PERMISSION;
    if (gpu->flags & (NO_SAMPLES | NO_UTILIZATION) || gpu->parent >= 0)
        return NVML_ERROR_NOT_SUPPORTED;
    if (type != NVML_GPU_UTILIZATION_SAMPLES && type != NVML_MEMORY_UTILIZATION_SAMPLES)
        return NVML_ERROR_NOT_SUPPORTED;
    *value_type = NVML_VALUE_TYPE_UNSIGNED_INT;
    if (!samples) { *count = BUFFERED; return NVML_SUCCESS; }
    unsigned int found = 0;
    uint64_t last = now_us() / WINDOW_US * WINDOW_US;
    uint64_t later = gpu->flags & ODD_CLOCK ? 3600000000ULL : 0;
    for (uint64_t end = last - (BUFFERED - 1) * WINDOW_US; end <= last; end += WINDOW_US) {
        if (end + later <= last_seen || end < gpu->start_us || found >= *count) continue;
        uint64_t memory, busy = busy_within(gpu, end - WINDOW_US, end, &memory);
        samples[found].timeStamp = end + later;
        samples[found].sampleValue.uiVal =
            percent(type == NVML_GPU_UTILIZATION_SAMPLES ? busy : memory, WINDOW_US);
        if (gpu->flags & ODD_SAMPLES && end / WINDOW_US % 2) samples[found].sampleValue.uiVal = ~0U;
        found++;
    }
    *count = found;
    return found ? NVML_SUCCESS : NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts) {
    CHECK(device);
    gpu_t *gpu = of(device);
    if (gpu->parent >= 0) return NVML_ERROR_NOT_SUPPORTED; /* power is the whole GPU's */
    uint64_t end = now_us();
    uint64_t busy = busy_within(gpu, end - WINDOW_US, end, NULL);
    *milliwatts = gpu->idle_mw + (gpu->busy_mw - gpu->idle_mw) * busy / WINDOW_US;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned int *milliwatts) {
    CHECK(device);
    if (of(device)->parent >= 0) return NVML_ERROR_NOT_SUPPORTED;
    *milliwatts = of(device)->busy_mw;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *mj) {
    CHECK(device);
    gpu_t *gpu = of(device);
    if (gpu->flags & GUARDED) return NVML_ERROR_NO_PERMISSION;
    if (gpu->flags & NO_ENERGY || gpu->parent >= 0) return NVML_ERROR_NOT_SUPPORTED;
    uint64_t alive_us = now_us() - gpu->start_us;
    *mj = (gpu->idle_mw * alive_us + (gpu->busy_mw - gpu->idle_mw) * gpu->busy_us) / 1000000;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(
    nvmlDevice_t device, unsigned long long *reasons) {
    CHECK(device);
    if (of(device)->flags & OLD_DRIVER) return NVML_ERROR_FUNCTION_NOT_FOUND;
    if (of(device)->flags & GUARDED) return NVML_ERROR_NO_PERMISSION;
    *reasons = of(device)->throttles;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(
    nvmlDevice_t device, unsigned long long *reasons) {
    CHECK(device);
    *reasons = of(device)->throttles;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(
    nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned int *celsius) {
    CHECK(device);
    if (sensor != NVML_TEMPERATURE_GPU || of(device)->parent >= 0) return NVML_ERROR_INVALID_ARGUMENT;
    *celsius = of(device)->throttles ? 88 : 54;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t type, unsigned int *mhz) {
    CHECK(device);
    *mhz = type == NVML_CLOCK_MEM ? 5001 : 1590;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned int *count) {
    CHECK(device);
    *count = 0;
    for (uint32_t i = 0; i < fleet->count; i++)
        *count += fleet->gpus[i].parent == (int32_t)((uintptr_t)device - 1);
    if (*count || of(device)->flags & MIG) *count = 7; /* as of an A100: places, not all taken */
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned int *now, unsigned int *pending) {
    unsigned int places;
    nvmlReturn_t result = nvmlDeviceGetMaxMigDeviceCount(device, &places);
    if (result) return result;
    if (!places) return NVML_ERROR_NOT_SUPPORTED;
    *now = *pending = NVML_DEVICE_MIG_ENABLE;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(
    nvmlDevice_t device, unsigned int index, nvmlDevice_t *slice) {
    CHECK(device);
    for (uint32_t i = 0; i < fleet->count; i++)
        if (fleet->gpus[i].parent == (int32_t)((uintptr_t)device - 1) && index-- == 0) {
            *slice = handle(i);
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t device, nvmlGpmSupport_t *support) {
    CHECK(device);
    if (support->version != NVML_GPM_SUPPORT_VERSION) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (of(device)->parent >= 0) return NVML_ERROR_INVALID_ARGUMENT; /* asked of the whole GPU */
    support->isSupportedDevice = (of(device)->flags & GPM) != 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *sample) {
    *sample = calloc(1, sizeof(gpm_t));
    return *sample ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}

nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t sample) { free(sample); return NVML_SUCCESS; }

nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t device, nvmlGpmSample_t sample) {
    CHECK(device);
    *(gpm_t *)sample = (gpm_t){now_us(), of(device)->busy_us, of(device)->filled_us};
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned int *id) {
    CHECK(device);
    if (of(device)->parent < 0) return NVML_ERROR_NOT_SUPPORTED;
    *id = (unsigned int)(uintptr_t)device;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t device, unsigned int id, nvmlGpmSample_t sample) {
    CHECK(device);
    if (id > fleet->count || of(handle(id - 1))->parent != (int32_t)((uintptr_t)device - 1))
        return NVML_ERROR_INVALID_ARGUMENT;
    return nvmlGpmSampleGet(handle(id - 1), sample);
}

/* SM utilization is what kernels fill of the busy share; occupancy is pretended to be half, bandwidth a quarter of it. */
nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *get) {
    gpm_t *a = (gpm_t *)get->sample1, *b = (gpm_t *)get->sample2;
    if (get->version != NVML_GPM_METRICS_GET_VERSION) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    if (b->at_us <= a->at_us) return NVML_ERROR_INVALID_ARGUMENT;
    double busy = 100.0 * (b->busy_us - a->busy_us) / (b->at_us - a->at_us);
    double filled = 100.0 * (b->filled_us - a->filled_us) / (b->at_us - a->at_us);
    for (unsigned int i = 0; i < get->numMetrics; i++) {
        get->metrics[i].nvmlReturn = NVML_SUCCESS;
        switch (get->metrics[i].metricId) {
        case NVML_GPM_METRIC_GRAPHICS_UTIL: get->metrics[i].value = busy; break;
        case NVML_GPM_METRIC_SM_UTIL: get->metrics[i].value = filled; break;
        case NVML_GPM_METRIC_SM_OCCUPANCY: get->metrics[i].value = busy / 2; break;
        case NVML_GPM_METRIC_DRAM_BW_UTIL: get->metrics[i].value = busy / 4; break;
        default: get->metrics[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
        }
    }
    return NVML_SUCCESS;
}

/* What tests and models call. */

void pretended_reset(void) {
    if (!attach()) memset(fleet, 0, sizeof *fleet);
}

int pretended_add_gpu(const char *name, const char *uuid, uint64_t total, uint64_t reserved,
                      int parent, uint32_t flags, uint32_t idle_mw, uint32_t busy_mw) {
    if (attach() || fleet->count >= GPUS) return -1;
    gpu_t *gpu = &fleet->gpus[fleet->count];
    memset(gpu, 0, sizeof *gpu);
    strncpy(gpu->name, name, sizeof gpu->name - 1);
    strncpy(gpu->uuid, uuid, sizeof gpu->uuid - 1);
    gpu->total = total;
    gpu->reserved = reserved;
    gpu->parent = parent;
    gpu->flags = flags;
    gpu->idle_mw = idle_mw;
    gpu->busy_mw = busy_mw;
    gpu->fill = 100;
    gpu->start_us = now_us();
    return (int)fleet->count++;
}

void pretended_set(int index, uint32_t fault, uint64_t throttles) {
    if (attach()) return;
    fleet->gpus[index].fault = fault;
    fleet->gpus[index].throttles = throttles;
}

/* Hold so many bytes in the name of a process; 0 when they are not there. */
int pretended_hold(int index, uint32_t pid, uint64_t bytes) {
    if (attach()) return 0;
    gpu_t *gpu = &fleet->gpus[index];
    uint64_t others = held(gpu);
    holder_t *place = NULL;
    for (int i = 0; i < PROCESSES && !(place && place->pid == pid); i++)
        if (gpu->holders[i].pid == pid || (!place && !gpu->holders[i].pid)) place = &gpu->holders[i];
    if (!place) return 0;
    if (place->pid == pid) others -= place->bytes;
    if (others + bytes + gpu->reserved > gpu->total) return 0;
    *place = (holder_t){bytes ? pid : 0, 0, bytes};
    return 1;
}

/* As `hold`, of a process that draws: a display, say. */
int pretended_draw(int index, uint32_t pid, uint64_t bytes) {
    if (!pretended_hold(index, pid, bytes)) return 0;
    for (int i = 0; i < PROCESSES; i++)
        if (fleet->gpus[index].holders[i].pid == pid) fleet->gpus[index].holders[i].draws = 1;
    return 1;
}

/* How much of the GPU kernels fill from now on, in percent of its multiprocessors. */
void pretended_fill(int index, uint32_t percent_of_sms) {
    if (!attach()) fleet->gpus[index].fill = percent_of_sms;
}

/* A process kept the GPU busy, and moved memory in a share of that time. */
void pretended_busy_by(
    int index, uint32_t pid, uint64_t start_us, uint64_t end_us, uint32_t memory_percent) {
    if (attach()) return;
    gpu_t *gpu = &fleet->gpus[index];
    uint32_t place = __sync_fetch_and_add(&gpu->next, 1) % INTERVALS;
    gpu->busy[place] = (interval_t){start_us, end_us, memory_percent, pid};
    __sync_fetch_and_add(&gpu->busy_us, end_us - start_us);
    __sync_fetch_and_add(&gpu->filled_us, (end_us - start_us) * gpu->fill / 100);
}

void pretended_busy(int index, uint64_t start_us, uint64_t end_us, uint32_t memory_percent) {
    pretended_busy_by(index, (uint32_t)getpid(), start_us, end_us, memory_percent);
}
