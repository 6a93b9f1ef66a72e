# SPDX-License-Identifier: Apache-2.0
# Non-recursive. `make help` lists the targets. Everything that is built lies under build/.

FLAVOUR ?= release
B       := build/$(FLAVOUR)
CC      ?= cc
CSTD    := -std=c11 -D_GNU_SOURCE -I. -I$(B)/gen
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
           -Wmissing-prototypes -Wpointer-arith -Wvla -Wformat=2 -Wundef
HARDEN  := -fstack-protector-strong -fstack-clash-protection -fcf-protection -D_FORTIFY_SOURCE=2 \
           -fno-plt -fno-strict-overflow
CFLAGS  ?= -O2 -g
LDFLAGS ?= -Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--gc-sections

MODULES := base config ca netns rootfs runtime
SRC     := $(foreach m,$(MODULES),$(wildcard $(m)/*.c))
TOOLS   := $(wildcard runtime/gen/*.c)
OBJ     := $(SRC:%.c=$(B)/%.o)
LIBOBJ  := $(filter-out $(B)/runtime/main.o,$(OBJ))
UNIT    := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))

# glibc stays dynamic (NSS must work in the gate); the rest is linked statically where Debian ships
# the archive: loading it all dynamically cost 11 ms an exec in a probe, statically 2.
STATIC_LIBS := -lseccomp -lcap -lyaml -lssl -lcrypto -lnl-route-3 -lnl-3 -ljansson -larchive \
               -lzstd -llzma -lbz2 -lz
LIBS    := -Wl,-Bstatic $(STATIC_LIBS) -Wl,-Bdynamic -lpthread -ldl -lm
NLFLAGS := -I/usr/include/libnl3

ifeq ($(V),1)
Q :=
else
Q := @
endif

all: $(B)/bin/bottle

$(B)/bin/bottle: $(OBJ)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -pie $(LDFLAGS) -o $@ $^ $(LIBS)
	@mkdir -p build/bin && ln -sf ../$(FLAVOUR)/bin/bottle build/bin/bottle

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CSTD) $(CFLAGS) $(SANITIZE) $(WARN) $(HARDEN) -fPIE -ffunction-sections -fdata-sections $(NLFLAGS) -MMD -MP -c -o $@ $<

$(B)/unit/%: $(B)/tests/unit/%.o $(LIBOBJ)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SANITIZE) -pie $(LDFLAGS) -o $@ $^ $(LIBS) -lcriterion

# libseccomp compiles runtime/seccomp_rules.h here, once, and is not part of bottle.
$(B)/gen/seccomp_gen: runtime/gen/seccomp_gen.c runtime/seccomp_rules.h runtime/seccomp_role.h
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -I. $(WARN) -O1 -o $@ $< -lseccomp

$(B)/gen/seccomp_filters.h: $(B)/gen/seccomp_gen
	$(Q)$< >$@.new && mv $@.new $@

$(B)/runtime/seccomp.o: $(B)/gen/seccomp_filters.h

unit: $(UNIT)

clean:
	rm -rf build

.PHONY: all unit clean
.SECONDARY:
-include $(OBJ:.o=.d) $(UNIT:$(B)/unit/%=$(B)/tests/unit/%.d)
