# SPDX-License-Identifier: Apache-2.0
# Non-recursive. `make help` lists the targets. Everything that is built lies under build/.

# DOCKER_ONLY=1: a bottle that knows the Docker backend alone, for macOS. It has nothing of Linux in it.
FLAVOUR ?= $(if $(DOCKER_ONLY),docker-only,release)
B       := build/$(FLAVOUR)
PREFIX  ?= /usr/local
CC      ?= cc
PYTHON  := /usr/bin/python3

CSTD    := -std=c11 -D_GNU_SOURCE -I. -I$(B)/gen
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
           -Wmissing-prototypes -Wpointer-arith -Wvla -Wformat=2 -Wundef
HARDEN  := -fstack-protector-strong -fstack-clash-protection -fcf-protection -D_FORTIFY_SOURCE=2 \
           -fno-plt -fno-strict-overflow
LDFLAGS ?= -Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--gc-sections

CFLAGS_release := -O2 -g
CFLAGS_debug   := -Og -g3
CFLAGS_docker-only := -O2 -g
CFLAGS_asan    := -O1 -g -fno-omit-frame-pointer
CFLAGS_fuzz    := -O1 -g -fno-omit-frame-pointer
SANITIZE_asan  := -fsanitize=address,undefined -fno-sanitize-recover=all
SANITIZE_fuzz  := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
CFLAGS   ?= $(CFLAGS_$(FLAVOUR))
SANITIZE ?= $(SANITIZE_$(FLAVOUR))

MODULES := base config ca netns rootfs runtime proxy
SRC     := $(filter-out %_posix.c,$(foreach m,$(MODULES),$(wildcard $(m)/*.c)))
OBJ     := $(SRC:%.c=$(B)/%.o)
TESTLIB := $(patsubst %.c,$(B)/%.o,$(wildcard tests/lib/*.c))
part     = $(foreach m,$(1),$(filter $(B)/$(m)/%.o,$(OBJ)))

# The egress proxy is a program of its own: `bottle` holds nothing of proxy/, and the proxy nothing
# of what makes a bottle. Tests take what they need of either out of one archive.
BOTTLE_OBJ := $(call part,base config ca netns rootfs runtime)

ifneq ($(DOCKER_ONLY),)
# Of runtime/ what is named here, of rootfs/ one file, of the rest but netns/ all; *_posix.c for *_linux.c.
RUNTIME_ANYWHERE := audit audit_summary backend backend_docker cmd_run cmd_stop cmd_trust docker_% guard_mark \
                    guard_mark_posix host_id main manifest_load material mount_list native_archive options own_files plan \
                    plan_agent_env plan_binds plan_contract plan_guard plan_homes plan_links plan_path plan_print plan_sockets process_hold_posix \
                    report secrets secrets_posix state state_fs_posix state_where stdio_fill tail timing token_check
SRC := $(filter-out %_linux.c,$(wildcard base/*.c config/*.c ca/*.c)) rootfs/user_spec.c \
       $(filter $(RUNTIME_ANYWHERE:%=runtime/%.c),$(wildcard runtime/*.c))
OBJ := $(SRC:%.c=$(B)/%.o)
BOTTLE_OBJ := $(OBJ)
endif
PROXY_OBJ  := $(call part,base config ca proxy)
LIBOBJ     := $(filter-out %/main.o,$(OBJ))

# One program for each of these files. Those of unit/ and platform/ are tests, run by tests/run.
programs = $(patsubst tests/$(1)/%.c,$(B)/$(1)/%,$(wildcard tests/$(1)/$(2)*.c))
UNIT     := $(call programs,unit,test_)
PLATFORM := $(call programs,platform)
TOOLS    := $(call programs,tools)
BENCH    := $(call programs,bench)
FUZZ     := $(call programs,fuzz,fuzz_)
TESTOBJ  := $(patsubst $(B)/%,$(B)/tests/%.o,$(UNIT) $(PLATFORM) $(TOOLS) $(BENCH) $(FUZZ))

# glibc stays dynamic (NSS must work in the gate); the rest is linked statically where Debian ships
# the archive: loading it all dynamically cost 11 ms an exec in a probe, statically 2.
STATIC_LIBS := -lcap -lyaml -lssl -lcrypto -lnl-route-3 -lnl-3 -ljansson -larchive \
               -lzstd -llzma -lbz2 -lz
LIBS    := -Wl,-Bstatic $(STATIC_LIBS) -Wl,-Bdynamic -lpthread -ldl -lm
ifneq ($(DOCKER_ONLY),)
CSTD    += -DBOTTLE_DOCKER_ONLY -include base/compat.h $(POISON:%=-I%)
CFLAGS  ?= -O2 -g
NLFLAGS  = $(shell pkg-config --cflags yaml-0.1 openssl jansson)
LIBS     = $(shell pkg-config --libs yaml-0.1 openssl jansson)
ifeq ($(shell uname),Darwin)
HARDEN  := -fstack-protector-strong -D_FORTIFY_SOURCE=2
LDFLAGS := -Wl,-dead_strip
CSTD    += -D_DARWIN_C_SOURCE
endif
endif
TESTLIBS = -Wl,-Bstatic -lnghttp2 -lcares $(LIBS)

# The proxy asks no NSS, so it is static throughout and its image holds nothing else (a sanitizer
# wants the dynamic glibc). The linker's warnings of getaddrinfo() and dlopen() in libraries, which
# nothing calls, are shown only where it fails.
PROXY_LIBS := -lyaml -lssl -lcrypto -lnghttp2 -lcares -ljansson
PROXY_LINK  = $(CC) $(CFLAGS) $(SANITIZE) $(if $(SANITIZE),-pie,-static-pie -Wl,-z,pack-relative-relocs) $(LDFLAGS)
ifeq ($(DOCKER_ONLY),)
NLFLAGS := -I/usr/include/libnl3
endif

SUBMAKE  = +@$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
Q       := $(if $(filter 1,$(V)),,@)
say      = $(if $(filter 1,$(V)),,@printf '  %-6s %s\n' '$(1)' '$@')
COMPILE  = $(CC) $(CSTD) $(CFLAGS) $(SANITIZE) $(WARN) $(HARDEN) -fPIE -ffunction-sections \
           -fdata-sections $(NLFLAGS)
LINK     = $(CC) $(CFLAGS) $(SANITIZE) -pie $(LDFLAGS)

ifneq ($(DOCKER_ONLY),)
all: $(B)/bin/bottle
else
all: build/bin/bottle build/bin/egress-proxy ## build the programs (default)
endif

# Each time: a flavour built earlier may be the newer one.
build/bin/%: $(B)/bin/% FORCE
	@mkdir -p $(@D)
	@ln -sfr $< $@

$(B)/bin/bottle: $(BOTTLE_OBJ) $(B)/sources
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) -o $@ $(filter %.o,$^) $(LIBS)

$(B)/bin/egress-proxy: $(PROXY_OBJ) $(B)/sources
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(PROXY_LINK) -o $@ $(filter %.o,$^) $(PROXY_LIBS) 2>$@.log || { cat $@.log >&2; false; }

$(B)/libtree.a: $(LIBOBJ) $(B)/sources
	$(call say,AR)
	$(Q)rm -f $@ && ar rcsT $@ $(filter %.o,$^)

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(COMPILE) -MMD -MP -c -o $@ $<

# The native proxy's image, and its digest, which is compiled into bottle: it runs this proxy or none.
# A sanitizer's program is not static, so its flavour has no image.
$(B)/gen/make_image: $(B)/rootfs/native/make_image.o $(call part,base)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) -o $@ $^

ifneq ($(SANITIZE)$(DOCKER_ONLY),)
$(B)/gen/native_digest.h:
	@mkdir -p $(@D)
	$(Q)printf '#define NATIVE_%s_DIGEST ""\n' IMAGE MANIFEST >$@
else
$(B)/gen/native_digest.h $(B)/bin/native.oci.tar &: $(B)/gen/make_image $(B)/bin/egress-proxy
	$(call say,GEN)
	$(Q)strip -o $(B)/gen/egress-proxy $(B)/bin/egress-proxy
	$(Q)$< $(B)/gen/egress-proxy $(B)/bin/native.oci.tar $(B)/gen/native_digest.h
endif

$(B)/runtime/native_image.o $(B)/runtime/docker_image.o: $(B)/gen/native_digest.h

# Its content is the command lines: when they change, everything is built anew.
# `sources`: what is linked is linked again also where one of them is gone.
$(B)/flags: recorded = $(COMPILE) $(LINK) $(LIBS) $(PROXY_LINK)
$(B)/sources: recorded = $(SRC)
$(B)/flags $(B)/sources: FORCE
	@mkdir -p $(@D)
	@echo '$(recorded)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

# libseccomp compiles runtime/seccomp_rules.h here, once, and is not part of bottle.
$(B)/gen/seccomp_gen: runtime/gen/seccomp_gen.c runtime/seccomp_rules.h runtime/seccomp_role.h
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -I. $(WARN) -O1 -o $@ $< -lseccomp

$(B)/gen/seccomp_filters.h: $(B)/gen/seccomp_gen
	$(call say,GEN)
	$(Q)$< >$@.new && mv $@.new $@

$(B)/runtime/seccomp.o: $(B)/gen/seccomp_filters.h

# Criterion finds its tests by the section that they stand in, which nothing refers to.
KEEP := -Wl,--no-gc-sections
$(UNIT) $(PLATFORM) $(BENCH) $(TOOLS): $(B)/%: $(B)/tests/%.o $(TESTLIB) $(B)/libtree.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) -o $@ $(filter %.o %.a,$^) $(TESTLIBS) $(if $(filter $(B)/unit/%,$@),-lcriterion -lseccomp $(KEEP))

$(FUZZ): $(B)/%: $(B)/tests/%.o $(B)/libtree.a
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(LINK) -fsanitize=fuzzer -o $@ $(filter %.o %.a,$^) $(TESTLIBS)

# The proxy over an allocator that fails when a test says so.
FAULTS := $(B)/faults/egress-proxy

$(FAULTS): $(B)/tests/faults/failing_malloc.o $(PROXY_OBJ)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(PROXY_LINK) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc -o $@ $(filter %.o,$^) \
		$(PROXY_LIBS) 2>$@.log || { cat $@.log >&2; false; }

# What bench-proxy measures with. `empty` is linked as the proxy is: the least that a start costs.
BENCH_PROXY := $(addprefix $(B)/bench-proxy/,load boot empty)

$(B)/bench-proxy/load: $(B)/tests/bench/proxy/load_conn.o
$(BENCH_PROXY): $(B)/bench-proxy/%: $(B)/tests/bench/proxy/%.o
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(if $(filter %/empty,$@),$(PROXY_LINK),$(LINK)) -o $@ $(filter %.o,$^) $(if $(filter %/load,$@),$(LIBS))

## Checks. All of them install what they need (Debian's archive only) or print the apt-get line.

programs-test: all $(UNIT) $(PLATFORM) $(TOOLS) $(BENCH) $(FAULTS)

check: build/.deps-check ## every test; ends with "N passed, N failed, N skipped"
	$(SUBMAKE) programs-test image-archive docker-base man
	+@! tests/fuzz/can-build.sh || $(MAKE) --no-print-directory -j$(shell nproc) FLAVOUR=fuzz CC=clang fuzz-programs
	@tests/run --build $(B)

check-quick: build/.deps-check ## lint, units and platform programs: no image, no daemons
	$(SUBMAKE) programs-test man
	@tests/run --build $(B) --quick

lint: build/.deps-check ## layers, sizes, formatting, words
	@tests/run --only lint

asan: build/.deps-check ## the quick tests under address and undefined-behaviour sanitizers
	$(SUBMAKE) FLAVOUR=asan programs-test
	@tests/run --build build/asan --quick --only unit,platform

fuzz: build/.deps-check build/.deps-fuzz ## each fuzz target for FUZZ_SECONDS (60)
	$(SUBMAKE) FLAVOUR=fuzz CC=clang fuzz-run

fuzz-programs: $(FUZZ)

fuzz-run: $(FUZZ)
	@tests/fuzz/run.sh $(B) $(or $(FUZZ_SECONDS),60)

bench: build/.deps-check ## start cost next to unshare and bwrap, and with Docker; the gate's throughput
	$(SUBMAKE) programs-test image
	@tests/bench/run.sh $(B)

faults: build/.deps-check ## the native proxy's fault tests at full length: minutes
	$(SUBMAKE) programs-test
	@BOTTLE_FAULTS_LONG=1 tests/run --build $(B) --only faults,http2/

bench-proxy: build/.deps-build build/.deps-bench ## the native proxy next to nginx alone, squid and mitmproxy
	$(SUBMAKE) $(B)/bin/egress-proxy $(BENCH_PROXY)
	@tests/bench/proxy/bench.py --tools $(B)/bench-proxy --native $(B)/bin/egress-proxy \
		--runs $(or $(BENCH_RUNS),5)

tidy: build/.deps-build build/.deps-tidy ## clang-tidy and cppcheck
	$(SUBMAKE) $(B)/gen/seccomp_filters.h $(B)/gen/native_digest.h
	@tests/lint/tidy.sh $(B) $(SRC)

format: ## clang-format in place
	clang-format -i $(wildcard $(MODULES:%=%/*.[ch]) runtime/gen/*.c rootfs/native/*.c tests/*/*.[ch] tests/bench/proxy/*.[ch])

## The proxy's image and the show.

image-archive: build/.deps-image
	@rootfs/build-image.sh

docker-base: build/.deps-check
	@tests/lib/make-docker-base

image: all image-archive ## make the mitmproxy image and import it for the calling user
	@packaging/import-image.sh build/bin/bottle build/image/egress-proxy-mitmproxy.oci.tar

demo: build/.deps-build build/.deps-demo ## show the main job
	$(SUBMAKE) all
	@tests/demo/demo.sh build/bin/bottle

deps: build/.deps-build build/.deps-image build/.deps-demo build/.deps-check ## install all of it now

build/.deps-check: build/.deps-build build/.deps-image build/.deps-demo
build/.deps-%: packaging/deps/% packaging/deps.sh
	@mkdir -p $(@D)
	@packaging/deps.sh $*
	@touch $@

## Installation.

MAN     := $(patsubst man/%.scd,build/man/%,$(wildcard man/*.scd))
SHARE    = $(DESTDIR)$(PREFIX)/share
INSTALL := install -D -m

man: $(MAN) ## format the manual pages

build/man/%: man/%.scd
	@mkdir -p $(@D)
	$(call say,MAN)
	$(Q)SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-1700000000} scdoc <$< >$@

ifneq ($(DOCKER_ONLY),)
# With what Dockerfile.egress-proxy is built from; by cp, since not every install(1) makes folders.
install: all man
	mkdir -p $(DESTDIR)$(PREFIX)/bin $(SHARE)/man/man1 $(SHARE)/man/man5 $(SHARE)/bottle/rootfs
	cp $(B)/bin/bottle $(DESTDIR)$(PREFIX)/bin/bottle
	cp $(filter %.1,$(MAN)) $(SHARE)/man/man1
	cp $(filter %.5,$(MAN)) $(SHARE)/man/man5
	rm -rf $(foreach part,base ca config proxy rootfs/mitmproxy rootfs/native,$(SHARE)/bottle/$(part))
	cp -R Dockerfile.egress-proxy .dockerignore Makefile base ca config proxy $(SHARE)/bottle
	cp -R rootfs/architecture.h rootfs/mitmproxy rootfs/native $(SHARE)/bottle/rootfs
else
install: all man ## install under DESTDIR and PREFIX (/usr/local)
	$(INSTALL) 755 $(B)/bin/bottle $(DESTDIR)$(PREFIX)/bin/bottle
	$(INSTALL) 644 -t $(SHARE)/bottle $(B)/bin/native.oci.tar
	$(INSTALL) 644 -t $(SHARE)/man/man1 $(filter %.1,$(MAN))
	$(INSTALL) 644 -t $(SHARE)/man/man5 $(filter %.5,$(MAN))
	$(INSTALL) 644 completions/bottle.bash $(SHARE)/bash-completion/completions/bottle
	$(INSTALL) 644 -t $(SHARE)/zsh/site-functions completions/_bottle
	$(INSTALL) 644 -t $(SHARE)/fish/vendor_completions.d completions/bottle.fish
	$(INSTALL) 644 -t $(SHARE)/bottle/apparmor packaging/apparmor/bottle
	$(INSTALL) 755 -t $(SHARE)/bottle/rootfs rootfs/build-image.sh
	$(INSTALL) 644 -t $(SHARE)/bottle/rootfs rootfs/host-apt.sh
	$(INSTALL) 644 -t $(SHARE)/bottle Dockerfile.egress-proxy
	$(INSTALL) 644 -t $(SHARE)/bottle/rootfs/mitmproxy $(addprefix rootfs/mitmproxy/,packages dpkg-trim.cfg)
	$(INSTALL) 755 -t $(SHARE)/bottle/rootfs/mitmproxy $(addprefix rootfs/mitmproxy/,finish.sh entrypoint)
	$(INSTALL) 644 -t $(SHARE)/bottle/rootfs/mitmproxy/egress_proxy $(wildcard rootfs/mitmproxy/egress_proxy/*.py)
endif

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/bottle $(SHARE)/bash-completion/completions/bottle \
		$(SHARE)/zsh/site-functions/_bottle $(SHARE)/fish/vendor_completions.d/bottle.fish \
		$(foreach m,$(notdir $(MAN)),$(SHARE)/man/man$(patsubst .%,%,$(suffix $(m)))/$(m))
	rm -rf $(SHARE)/bottle

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

FORCE:
.PHONY: all programs-test check check-quick lint asan fuzz fuzz-programs fuzz-run bench bench-proxy faults tidy format image-archive \
        docker-base image demo deps man install uninstall clean help FORCE
.SECONDARY:
.DELETE_ON_ERROR:
-include $(OBJ:.o=.d) $(B)/rootfs/native/make_image.d $(TESTLIB:.o=.d) $(TESTOBJ:.o=.d) $(wildcard $(B)/tests/bench/proxy/*.d $(B)/tests/faults/*.d)
