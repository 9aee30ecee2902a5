FROM sightglass-standin:debian
ARG DEBS
RUN echo "deb [trusted=yes] $DEBS ./" >/etc/apt/sources.list
CMD ["bash"]
