"""What draws pictures without a screen."""

GL_PACKAGES = {"egl": "libegl1 libgl1-mesa-dri", "osmesa": "libosmesa6"}  # Debian's, of each backend that MuJoCo has for it
