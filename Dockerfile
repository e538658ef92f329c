# Airflow with recdeploy: one image for the API server, the scheduler, the DAG processor, the triggerer, the
# workers, and for the OCI emulator. Its packages are requirements.txt, by hash.

# By digest, for several platforms; .env.example says how to name a newer one.
ARG PYTHON_IMAGE=python:3.12.14-slim-bookworm@sha256:782412e85d0f0984994c290652577d4018aff08145c85b262bb63dc0c7522254

FROM ${PYTHON_IMAGE} AS packages
# Some packages are compiled where no wheel fits the machine.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc g++ libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY scripts/uv.txt /tmp/uv.txt
RUN pip install --no-cache-dir --require-hashes --no-deps --requirement /tmp/uv.txt
RUN uv venv /opt/recdeploy/venv
COPY requirements.txt /tmp/requirements.txt
RUN uv pip sync --no-cache --python /opt/recdeploy/venv/bin/python \
    --require-hashes --compile-bytecode /tmp/requirements.txt

FROM ${PYTHON_IMAGE}
# What scikit-learn and numba load at run time.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --gid 0 --create-home --shell /usr/sbin/nologin airflow

COPY --from=packages /opt/recdeploy/venv /opt/recdeploy/venv
WORKDIR /opt/recdeploy
COPY dags dags
COPY plugins plugins
COPY include include
COPY oci_emulator oci_emulator
COPY demo demo
COPY simulation simulation

# Volumes take over the owner of these folders when they are first used.
RUN /opt/recdeploy/venv/bin/python -m compileall -q dags plugins include oci_emulator demo simulation \
    && mkdir -p airflow/logs auth connections emulator storage \
    && chown -R airflow:root airflow auth connections emulator storage

ENV PATH=/opt/recdeploy/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/opt/recdeploy/plugins \
    AIRFLOW_HOME=/opt/recdeploy/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/recdeploy/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/recdeploy/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=/opt/recdeploy/airflow/logs

# The commit that this is built from, for the provenance of models. Last, as each commit rebuilds what follows.
ARG RECDEPLOY_GIT_COMMIT=
ENV RECDEPLOY_GIT_COMMIT=$RECDEPLOY_GIT_COMMIT

USER airflow
EXPOSE 8080
ENTRYPOINT []
CMD ["airflow", "version"]
