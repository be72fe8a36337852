# The course in a container. docs/environments.md says how to use it, and what of it was tried.
#   docker compose up
FROM python:3.12.12-slim-bookworm

# With --build-arg CUDA=1 PyTorch is its CUDA build, several gigabytes larger.
ARG CUDA=
# With --build-arg EXTRAS=[test] it can also make and test the course, as the dev container does.
ARG EXTRAS=

ENV PATH=/opt/venv/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUTF8=1

# Jupyter and all that learners run belongs to this user; the course and its packages to root.
RUN useradd --create-home --uid 1000 learner && python3 -m venv /opt/venv

WORKDIR /course
# The packages come before the course: this long step is done again only when they change.
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY lrcourse/__init__.py lrcourse/
# PyTorch's own index offers the CPU build, which sorts above the one with CUDA.
RUN if [ -z "$CUDA" ]; then pip install --no-deps -c constraints.txt torch \
        --extra-index-url https://download.pytorch.org/whl/cpu; fi \
    && pip install -c constraints.txt -e ".$EXTRAS" \
    && jupyter labextension disable "@jupyterlab/apputils-extension:announcements"
COPY . .
# A volume takes its first content from here: what learners write outlives the container.
RUN mkdir /home/learner/notebooks \
    && cp notebooks/*.ipynb /home/learner/notebooks/ \
    && chown -R learner:learner /home/learner

USER 1000
WORKDIR /home/learner
VOLUME /home/learner
EXPOSE 8888
HEALTHCHECK --start-period=60s --interval=30s --timeout=10s CMD ["python", "-c", \
    "from urllib.request import urlopen; urlopen('http://127.0.0.1:8888/api', timeout=5)"]
# Every address of the container, and only of the container: publish the port on 127.0.0.1, as
# compose.yaml does. Jupyter makes a token at each start and prints it.
CMD ["jupyter", "lab", "--no-browser", "--ServerApp.ip=0.0.0.0", "--ServerApp.port=8888", \
    "--ServerApp.port_retries=0", "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"]
