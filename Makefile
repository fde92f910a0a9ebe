PYTHON ?= python3
VENV := .venv
export PORT ?= 8000

.PHONY: serve training test fresh browser generated-clients corpus audit bench soak chaos neighbour peers ray containers kubernetes lock clean

serve: $(VENV)/.installed-serve
	@CAPTIONER_PORT=$${CAPTIONER_PORT:-$(PORT)} exec $(VENV)/bin/captioner serve

# What captioner train, prepare and evaluate need beyond serving.
training: $(VENV)/.installed-train

# What is run where others may reach it; tests start processes and make bad files on purpose.
CODE := cli clients/python model service training

test: $(VENV)/.installed-dev $(if $(CI),browser)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/bandit -q -r $(CODE) -c pyproject.toml
	$(VENV)/bin/pytest -n 2 --dist loadfile

# The page's tests drive Chromium, and are skipped, loudly, where there is none. Only CI installs it by itself.
browser:
	@command -v chromium >/dev/null || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
		|| echo "Chromium is not here and could not be installed: the tests of the web page will be skipped"

# Makes a Python and a TypeScript client from the OpenAPI document and captions a photo with each; needs npm.
generated-clients: $(VENV)/.installed-dev
	$(VENV)/bin/python -m tests.openapi.generate_clients

# README and docs/TRAINING.md from a fresh clone as a reader goes through them, with the time of each step.
fresh: $(VENV)/.installed-dev
	$(VENV)/bin/python -m tests.fresh_reader $(FLICKR8K) $(if $(WEIGHTS),--weights $(WEIGHTS))

# Sends every file below a folder and compares each answer with what Pillow alone decides.
corpus: CORPUS ?= ../shared/corpus
corpus: $(VENV)/.installed-dev
	@test -d $(CORPUS) || { echo "no folder $(CORPUS): say CORPUS=FOLDER make corpus"; exit 1; }
	CORPUS=$(CORPUS) $(VENV)/bin/pytest -rsP tests/hostile/test_corpus.py

# Known weaknesses of what is pinned; asks a database on the internet.
audit: $(VENV)/.installed-dev
	$(VENV)/bin/pip-audit --no-deps --disable-pip -r requirements/dev.txt

# Pictures to measure with: any folder of photographs.
PHOTOS ?= ../shared/data/photos

# And Flickr8k, for what each way to run the network does to captions.
FLICKR8K ?= ../shared/data/flickr8k

# Every table of docs/PERFORMANCE.md but the GPU's, in about an hour.
bench: $(VENV)/.installed-dev
	@test -d $(PHOTOS) || { echo "no folder $(PHOTOS): say PHOTOS=FOLDER make bench"; exit 1; }
	$(VENV)/bin/python benchmarks/model_speed.py $(PHOTOS)
	$(VENV)/bin/python benchmarks/decoder_speed.py $(PHOTOS)
	@test -d $(FLICKR8K) || echo "no folder $(FLICKR8K): captions are NOT compared; FLICKR8K=FOLDER makes it so"
	! test -d $(FLICKR8K) || $(VENV)/bin/python benchmarks/fidelity.py $(FLICKR8K)
	$(VENV)/bin/python benchmarks/model_speed.py $(PHOTOS) --encoder resnet152 --pictures 16
	$(VENV)/bin/python benchmarks/start.py
	$(VENV)/bin/python benchmarks/http_load.py $(PHOTOS)
	$(VENV)/bin/python benchmarks/http_load.py $(PHOTOS) --clients 1 8 64 --precision int8
	$(VENV)/bin/python benchmarks/kill_worker.py $(PHOTOS)
	$(VENV)/bin/python benchmarks/front_end.py
	$(VENV)/bin/python benchmarks/peers/run.py $(PHOTOS)
	$(VENV)/bin/python benchmarks/cost_growth.py $(PHOTOS)
	$(VENV)/bin/python benchmarks/bulk.py $(PHOTOS)

# Thousands of requests, half of them hostile, and what the service holds on to; faults for MINUTES under load.
soak: $(VENV)/.installed-dev
	$(VENV)/bin/python benchmarks/soak.py --plot docs/images/soak.svg

MINUTES ?= 10

chaos: $(VENV)/.installed-dev
	$(VENV)/bin/python benchmarks/chaos.py --minutes $(MINUTES)

# The same checkpoint behind other servers; makes their environment (.venv-peers) the first time.
peers: $(VENV)/.installed-dev
	$(VENV)/bin/python benchmarks/peers/run.py $(PHOTOS)

# The service and bulk captioning on a Ray cluster of three nodes on this machine, one of which is killed.
ray: $(VENV)/.installed-dev
	@test -d $(PHOTOS) || { echo "no folder $(PHOTOS): say PHOTOS=FOLDER make ray"; exit 1; }
	$(VENV)/bin/python benchmarks/ray_nodes.py $(PHOTOS)

# docker/kubernetes against the schemas of Kubernetes's API.
kubernetes:
	$(PYTHON) -m venv .venv-kubernetes
	.venv-kubernetes/bin/pip install -q kubernetes-validate==1.37.0
	.venv-kubernetes/bin/kubernetes-validate --strict $(filter-out %/kustomization.yaml,$(wildcard docker/kubernetes/*.yaml))

# What a good request and liveness take beside each kind of hostile traffic, against what they take alone.
neighbour: $(VENV)/.installed-dev
	$(VENV)/bin/python benchmarks/neighbour.py

# Builds the images and puts containers to the test in a real Docker engine: minutes, and too heavy for make test.
containers: $(VENV)/.installed-dev
	$(VENV)/bin/python docker/check_image.py
	$(VENV)/bin/python docker/check_compose.py

# Each stamp says which lock is installed; a second run finds it newer than the lock and installs nothing. Graphs
# are made ahead, so that the first start is as short as any.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "captioner needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed-serve: requirements/serve.txt pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet -r requirements/serve.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	-$(VENV)/bin/python -m model.ahead
	@touch $@

$(VENV)/.installed-train: requirements/train.txt pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet -r requirements/train.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	-$(VENV)/bin/python -m model.ahead
	@touch $@ $(VENV)/.installed-serve

$(VENV)/.installed-dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet -r requirements/dev.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	-$(VENV)/bin/python -m model.ahead
	@touch $@ $(VENV)/.installed-serve $(VENV)/.installed-train

# Resolves the newest versions that pyproject.toml allows, for every platform and Python it supports.
lock: $(VENV)/bin/python
	$(VENV)/bin/pip install --quiet uv
	$(VENV)/bin/uv pip compile -q -U --universal --python-version 3.11 --no-header --extra openvino pyproject.toml -o requirements/serve.txt
	$(VENV)/bin/uv pip compile -q -U --universal --python-version 3.11 --no-header --extra openvino --extra train -c requirements/serve.txt pyproject.toml -o requirements/train.txt
	$(VENV)/bin/uv pip compile -q -U --universal --python-version 3.11 --no-header --extra dev -c requirements/train.txt pyproject.toml -o requirements/dev.txt
	$(VENV)/bin/uv pip compile -q -U --universal --python-version 3.11 --no-header --extra openvino --extra ray -c requirements/dev.txt pyproject.toml -o requirements/ray.txt

clean:
	rm -rf $(VENV) build *.egg-info
